#include "server/gate_verdict.h"

#include <limits>
#include <optional>
#include <utility>
#include <vector>

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

GateThresholds Thresholds(double reliability, double generality, double locality) {
  GateThresholds thresholds;
  thresholds.reliability = reliability;
  thresholds.generality = generality;
  thresholds.locality = locality;
  return thresholds;
}

GateMeasurements Measured(const EditScores& means, std::vector<EditScores> edits) {
  GateMeasurements measured;
  measured.means = means;
  measured.edits = std::move(edits);
  return measured;
}

GateResult Judge(const EditScores& scores, const GateThresholds& thresholds, bool enforced = true) {
  return JudgeMeasurements(Measured(scores, {scores}), {TargetReport{0.01, 7}}, thresholds,
                           enforced);
}

// A perfect edit, and what else was measured.
GateResult JudgeBatch(GateMeasurements measured, const GateThresholds& thresholds,
                      bool enforced = true) {
  measured.edits = {Scores(1.0)};
  measured.means = Scores(1.0);
  return JudgeMeasurements(measured, {TargetReport{0.01, 7}}, thresholds, enforced);
}

TEST(JudgeMeasurementsTest, ABatchPassesWhenEveryMeasuredMeanReachesItsThreshold) {
  const GateResult result = Judge(Scores(0.9, 0.8, 0.7), Thresholds(0.9, 0.8, 0.7));
  EXPECT_TRUE(result.accepted);
  EXPECT_TRUE(result.verdict.passed);
  EXPECT_THAT(result.verdict.failures, IsEmpty());
}

TEST(JudgeMeasurementsTest, EachCheckThatFailsIsNamedWithBothValues) {
  const GateResult result = Judge(Scores(0.62, 0.5, 0.7), Thresholds(0.9, 0.8, 0.7));
  EXPECT_FALSE(result.accepted);
  EXPECT_FALSE(result.verdict.passed);
  EXPECT_THAT(result.verdict.failures,
              ElementsAre("reliability 0.62 is below 0.90", "generality 0.50 is below 0.80"));
}

TEST(JudgeMeasurementsTest, AFailureShowsAsManyDigitsAsTheDifferenceNeeds) {
  EXPECT_THAT(Judge(Scores(0.8999), Thresholds(0.9, 0, 0)).verdict.failures,
              ElementsAre("reliability 0.8999 is below 0.9000"));
}

TEST(JudgeMeasurementsTest, WhatWasNotMeasuredFailsNoThreshold) {
  EXPECT_TRUE(Judge(Scores(1.0), Thresholds(1, 1, 1)).accepted);
}

TEST(JudgeMeasurementsTest, LowScoresAreRecordedButAcceptedWhenThresholdsAreNotEnforced) {
  const GateResult result = Judge(Scores(0.1), Thresholds(0.9, 0, 0), /*enforced=*/false);
  EXPECT_TRUE(result.accepted);
  EXPECT_FALSE(result.verdict.passed);
  EXPECT_FALSE(result.verdict.enforced);
}

TEST(JudgeMeasurementsTest, AMeanThatIsNotFiniteIsRejectedAlsoWithoutEnforcement) {
  EXPECT_FALSE(Judge(Scores(kNan), GateThresholds(), /*enforced=*/false).accepted);
}

TEST(JudgeMeasurementsTest, ATargetLossThatIsNotFiniteIsRejectedWithTheEditNamed) {
  const GateResult result =
      JudgeMeasurements(Measured(Scores(1.0), {Scores(1.0), Scores(1.0)}),
                        {TargetReport{0.1, 1}, TargetReport{kNan, 1}}, {}, false);
  EXPECT_FALSE(result.accepted);
  EXPECT_TRUE(result.edits[0].passed);
  EXPECT_FALSE(result.edits[1].passed);
  EXPECT_THAT(result.verdict.failures, ElementsAre("result of edit 1 is not finite"));
}

TEST(JudgeMeasurementsTest, EachEditHasItsOwnVerdictAndTargetReport) {
  const GateResult result =
      JudgeMeasurements(Measured(Scores(0.75), {Scores(1.0), Scores(0.5)}),
                        {TargetReport{0.1, 3}, TargetReport{0.2, 4}}, Thresholds(0.7, 0, 0), true);
  ASSERT_EQ(result.edits.size(), 2u);
  EXPECT_TRUE(result.accepted);
  EXPECT_TRUE(result.edits[0].passed);
  EXPECT_FALSE(result.edits[1].passed);
  EXPECT_EQ(result.edits[1].index, 1);
  EXPECT_EQ(result.edits[1].target.steps, 4);
}

TEST(JudgeMeasurementsTest, BackgroundThatChangesTooOftenIsRejected) {
  GateMeasurements measured;
  measured.background = 0.8;
  GateThresholds thresholds;
  thresholds.background = 0.9;
  const GateResult result = JudgeBatch(measured, thresholds);
  EXPECT_FALSE(result.accepted);
  EXPECT_THAT(result.verdict.failures, ElementsAre("background 0.80 is below 0.90"));
  // Nothing is wrong with the edit by itself.
  EXPECT_TRUE(result.edits[0].passed);
}

TEST(JudgeMeasurementsTest, APerplexityThatGrowsAboveItsBoundIsRejected) {
  GateMeasurements measured;
  measured.perplexity_change = 0.32;
  GateThresholds thresholds;
  EXPECT_TRUE(JudgeBatch(measured, thresholds).accepted) << "there is no bound";
  thresholds.max_perplexity_change = 0.1;
  const GateResult result = JudgeBatch(measured, thresholds);
  EXPECT_FALSE(result.accepted);
  EXPECT_THAT(result.verdict.failures, ElementsAre("perplexity change 0.32 is above 0.10"));
  measured.perplexity_change = -0.5;
  EXPECT_TRUE(JudgeBatch(measured, thresholds).accepted);
}

TEST(JudgeMeasurementsTest, APerplexityThatIsNotFiniteIsRejectedWithoutBoundAndEnforcement) {
  GateMeasurements measured;
  measured.perplexity_change = kNan;
  EXPECT_FALSE(JudgeBatch(measured, {}, /*enforced=*/false).accepted);
}

TEST(JudgeMeasurementsTest, RetentionIsTheShareOfEarlierEditsThatStillHold) {
  GateMeasurements measured;
  measured.retained_edits = 8;
  measured.broken_edits = {{Revision(3), 1}, {Revision(2), 0}};
  GateThresholds thresholds;
  thresholds.retention = 0.9;
  const GateResult result = JudgeBatch(measured, thresholds);
  EXPECT_FALSE(result.accepted);
  EXPECT_EQ(result.verdict.retention, 0.75);
  EXPECT_EQ(result.verdict.retained_edits, 8);
  EXPECT_THAT(result.verdict.broken_edits,
              ElementsAre(EditId{Revision(3), 1}, EditId{Revision(2), 0}));
  EXPECT_THAT(result.verdict.failures, ElementsAre("retention 0.75 is below 0.90"));
}

TEST(JudgeMeasurementsTest, WithoutEarlierEditsThereIsNoRetention) {
  GateThresholds thresholds;
  thresholds.retention = 1;
  const GateResult result = JudgeBatch({}, thresholds);
  EXPECT_TRUE(result.accepted);
  EXPECT_EQ(result.verdict.retention, std::nullopt);
}

TEST(JudgeMeasurementsTest, RevertedIsTheShareOfWithdrawnEditsThatAnswerAsBefore) {
  GateMeasurements measured;
  // Gone; never there, and something else now; given without the edit too.
  measured.withdrawn = {{EditId{Revision(3), 0}, true, false, true, true},
                        {EditId{Revision(3), 1}, false, false, false, true},
                        {EditId{Revision(3), 2}, true, true, true, true}};
  const GateResult result = JudgeBatch(measured, {});
  EXPECT_TRUE(result.accepted);
  EXPECT_DOUBLE_EQ(result.verdict.reverted.value_or(0), 2.0 / 3);
  EXPECT_EQ(JudgeBatch({}, {}).verdict.reverted, std::nullopt);
}

TEST(JudgeMeasurementsTest, AWithdrawnEditThatIsStillGivenIsRejectedByName) {
  GateMeasurements measured;
  measured.withdrawn = {{EditId{Revision(3), 1}, true, true, false, true}};
  const GateResult result = JudgeBatch(measured, {});
  EXPECT_FALSE(result.accepted);
  EXPECT_THAT(result.verdict.failures,
              ElementsAre("edit 1 of revision 3 is withdrawn but its target is still given"));
}

TEST(JudgeMeasurementsTest, AWithdrawalWhoseNumbersAreNotFiniteIsRejectedWithoutEnforcement) {
  GateMeasurements measured;
  measured.withdrawn = {{EditId{Revision(3), 1}, true, false, true, false}};
  EXPECT_FALSE(JudgeBatch(measured, {}, /*enforced=*/false).accepted);
}

TEST(JudgeMeasurementsTest, EachEditSaysWhatItsGeneralityWasMeasuredOn) {
  GateMeasurements measured = Measured(Scores(1.0, 1.0), {Scores(1.0, 1.0), Scores(1.0, 1.0)});
  measured.sources = {GeneralitySource::kTemplates, GeneralitySource::kParaphrases};
  const GateResult result = JudgeMeasurements(measured, {}, {}, true);
  EXPECT_EQ(result.edits[0].generality_source, GeneralitySource::kTemplates);
  EXPECT_EQ(result.edits[1].generality_source, GeneralitySource::kParaphrases);
}

}  // namespace
}  // namespace amend
