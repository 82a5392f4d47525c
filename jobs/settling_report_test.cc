#include "jobs/settling_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace amend::jobs {
namespace {

using testing::HasSubstr;
using testing::Not;

CovarianceRun Sample() {
  CovarianceRun run;
  run.covariance.tokens = 8192;
  run.lines = 77;
  run.settling.push_back({LayerIndex(3), 2048, 4096, 0.25, {}, {}, {}});
  run.settling.push_back({LayerIndex(3), 4096, 8192, 0.125, 0.96875, 0.5, 0.0625});
  return run;
}

TEST(SettlingReportTest, TheTableHasALinePerStep) {
  const std::string table = SettlingTable(Sample());
  EXPECT_THAT(table, HasSubstr("2048 -> 4096"));
  EXPECT_THAT(table, HasSubstr("0.1250    0.9688  0.5000    0.0625"));
}

TEST(SettlingReportTest, ASingularStepHasDashesAndNulls) {
  CovarianceRun run = Sample();
  run.settling.pop_back();
  EXPECT_THAT(SettlingTable(run), HasSubstr("0.2500         -       -         -"));
  EXPECT_TRUE(
      nlohmann::json::parse(SettlingJson(run))["steps"][0]["direction_cosine_median"].is_null());
}

TEST(SettlingReportTest, WithoutStepsThereIsNoTable) { EXPECT_EQ(SettlingTable({}), ""); }

TEST(SettlingReportTest, JsonHoldsTheNumbersInFull) {
  const auto json = nlohmann::json::parse(SettlingJson(Sample()));
  EXPECT_EQ(json["tokens"], 8192);
  EXPECT_EQ(json["lines"], 77);
  ASSERT_EQ(json["steps"].size(), 2u);
  EXPECT_EQ(json["steps"][1]["layer"], 3);
  EXPECT_EQ(json["steps"][1]["from_tokens"], 4096);
  EXPECT_EQ(json["steps"][1]["to_tokens"], 8192);
  EXPECT_EQ(json["steps"][1]["moment_change"], 0.125);
  EXPECT_EQ(json["steps"][1]["direction_cosine_median"], 0.96875);
  EXPECT_EQ(json["steps"][1]["direction_cosine_smallest"], 0.5);
  EXPECT_EQ(json["steps"][1]["leverage_change_median"], 0.0625);
}

}  // namespace
}  // namespace amend::jobs
