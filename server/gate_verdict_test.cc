#include "server/gate_verdict.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

EditScores Scores(std::optional<double> reliability, std::optional<double> generality = {},
                  std::optional<double> locality = {}) {
  EditScores scores;
  scores.reliability = reliability;
  scores.generality = generality;
  scores.locality = locality;
  return scores;
}

GateResult Judge(const EditScores& scores, const GateThresholds& thresholds, bool enforced = true) {
  return JudgeScores(scores, {scores}, {TargetReport{0.01, 7}}, thresholds, enforced);
}

TEST(JudgeScoresTest, ABatchPassesWhenEveryMeasuredMeanReachesItsThreshold) {
  const GateResult result = Judge(Scores(0.9, 0.8, 0.7), {0.9, 0.8, 0.7});
  EXPECT_TRUE(result.accepted);
  EXPECT_TRUE(result.verdict.passed);
  EXPECT_THAT(result.verdict.failures, IsEmpty());
}

TEST(JudgeScoresTest, EachCheckThatFailsIsNamedWithBothValues) {
  const GateResult result = Judge(Scores(0.62, 0.5, 0.7), {0.9, 0.8, 0.7});
  EXPECT_FALSE(result.accepted);
  EXPECT_FALSE(result.verdict.passed);
  EXPECT_THAT(result.verdict.failures,
              ElementsAre("reliability 0.62 is below 0.90", "generality 0.50 is below 0.80"));
}

TEST(JudgeScoresTest, AFailureShowsAsManyDigitsAsTheDifferenceNeeds) {
  EXPECT_THAT(Judge(Scores(0.8999), {0.9, 0, 0}).verdict.failures,
              ElementsAre("reliability 0.8999 is below 0.9000"));
}

TEST(JudgeScoresTest, WhatWasNotMeasuredFailsNoThreshold) {
  EXPECT_TRUE(Judge(Scores(1.0), {1, 1, 1}).accepted);
}

TEST(JudgeScoresTest, LowScoresAreRecordedButAcceptedWhenThresholdsAreNotEnforced) {
  const GateResult result = Judge(Scores(0.1), {0.9, 0, 0}, /*enforced=*/false);
  EXPECT_TRUE(result.accepted);
  EXPECT_FALSE(result.verdict.passed);
  EXPECT_FALSE(result.verdict.enforced);
}

TEST(JudgeScoresTest, AMeanThatIsNotFiniteIsRejectedAlsoWithoutEnforcement) {
  EXPECT_FALSE(Judge(Scores(kNan), {0, 0, 0}, /*enforced=*/false).accepted);
}

TEST(JudgeScoresTest, ATargetLossThatIsNotFiniteIsRejectedWithTheEditNamed) {
  const GateResult result = JudgeScores(Scores(1.0), {Scores(1.0), Scores(1.0)},
                                        {TargetReport{0.1, 1}, TargetReport{kNan, 1}}, {}, false);
  EXPECT_FALSE(result.accepted);
  EXPECT_TRUE(result.edits[0].passed);
  EXPECT_FALSE(result.edits[1].passed);
  EXPECT_THAT(result.verdict.failures, ElementsAre("result of edit 1 is not finite"));
}

TEST(JudgeScoresTest, EachEditHasItsOwnVerdictAndTargetReport) {
  const GateResult result =
      JudgeScores(Scores(0.75), {Scores(1.0), Scores(0.5)},
                  {TargetReport{0.1, 3}, TargetReport{0.2, 4}}, {0.7, 0, 0}, true);
  ASSERT_EQ(result.edits.size(), 2u);
  EXPECT_TRUE(result.accepted);
  EXPECT_TRUE(result.edits[0].passed);
  EXPECT_FALSE(result.edits[1].passed);
  EXPECT_EQ(result.edits[1].index, 1);
  EXPECT_EQ(result.edits[1].target.steps, 4);
}

}  // namespace
}  // namespace amend
