#include "server/solver_cache.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

KeyCovariance::Layer Diagonal(int layer, float value) {
  KeyCovariance::Layer made{LayerIndex(layer), {20, 20, std::vector<float>(400, 0.0f)}};
  for (int i = 0; i < 20; ++i) made.moment.values[21 * i] = value + 0.1f * static_cast<float>(i);
  return made;
}

class SolverCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.data_directory = ::testing::TempDir() + "/" +
                              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(options_.data_directory);
    std::filesystem::create_directories(options_.data_directory);
    options_.covariance_digest = std::string(64, 'a');
    options_.progress = [this](absl::string_view text) { told_.emplace_back(text); };
    settings_.layers = {LayerIndex(3), LayerIndex(5)};
    settings_.lambda = 25;
    covariance_.layers = {Diagonal(3, 1), Diagonal(5, 2)};
  }

  // What was told while the factors were obtained.
  std::vector<std::string> Obtain() {
    told_.clear();
    auto factors = ObtainBackgroundFactors(settings_, covariance_, options_);
    EXPECT_THAT(factors, IsOk());
    EXPECT_EQ(factors->size(), settings_.layers.size());
    return told_;
  }
  std::string File(int layer) const {
    return options_.data_directory + "/solver-layer" + std::to_string(layer) + ".factor";
  }

  EditSettings settings_;
  KeyCovariance covariance_;
  SolverCacheOptions options_;
  std::vector<std::string> told_;
};

TEST_F(SolverCacheTest, TheSecondStartComputesNothing) {
  EXPECT_THAT(Obtain(), ElementsAre(AllOf(HasSubstr("layer 3"), HasSubstr("1 of 2")),
                                    AllOf(HasSubstr("layer 5"), HasSubstr("2 of 2"))));
  EXPECT_THAT(Obtain(), IsEmpty());
}

TEST_F(SolverCacheTest, AFlippedByteIsComputedAgainAndReplaced) {
  Obtain();
  std::fstream file(File(5), std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-3, std::ios::end);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(-3, std::ios::end);
  file.put(byte);
  file.close();
  EXPECT_THAT(Obtain(), ElementsAre(AllOf(HasSubstr("not used"), HasSubstr(File(5))),
                                    HasSubstr("factoring the key covariance of layer 5")));
  EXPECT_THAT(Obtain(), IsEmpty());
}

TEST_F(SolverCacheTest, AnotherLambdaIsComputedAgain) {
  Obtain();
  settings_.lambda = 25.000000000000004;
  EXPECT_EQ(Obtain().size(), 4u);
  EXPECT_THAT(Obtain(), IsEmpty());
}

TEST_F(SolverCacheTest, AnotherCovarianceIsComputedAgain) {
  Obtain();
  options_.covariance_digest = std::string(64, 'b');
  EXPECT_EQ(Obtain().size(), 4u);
}

TEST_F(SolverCacheTest, AFileOfAnotherLayerIsNotUsed) {
  Obtain();
  std::filesystem::copy_file(File(3), File(5), std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(Obtain(), ElementsAre(HasSubstr("not used"), HasSubstr("layer 5")));
}

TEST_F(SolverCacheTest, ALostFileIsComputedAgain) {
  Obtain();
  std::filesystem::remove(File(3));
  EXPECT_THAT(Obtain(), ElementsAre(HasSubstr("layer 3")));
}

TEST_F(SolverCacheTest, WhereNothingCanBeWrittenTheFactorsAreStillThere) {
  options_.data_directory += "/none";
  EXPECT_THAT(Obtain(), ElementsAre(HasSubstr("factoring"), HasSubstr("not kept"),
                                    HasSubstr("factoring"), HasSubstr("not kept")));
}

TEST_F(SolverCacheTest, ASingularCovarianceIsRefusedAndNothingIsKept) {
  covariance_.layers[0] = Diagonal(3, -1);
  EXPECT_THAT(ObtainBackgroundFactors(settings_, covariance_, options_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("layer 3 is singular"), HasSubstr("order 1 of 20"),
                             HasSubstr("more text"))));
  EXPECT_FALSE(std::filesystem::exists(File(3)));
}

TEST_F(SolverCacheTest, ALayerThatTheCovarianceLacksIsNamed) {
  covariance_.layers.pop_back();
  EXPECT_THAT(ObtainBackgroundFactors(settings_, covariance_, options_),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("lacks edited layer 5")));
}

}  // namespace
}  // namespace amend
