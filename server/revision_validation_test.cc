#include "server/revision_validation.h"

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/testing/edit_harness.h"

namespace amend {
namespace {

using absl::StatusCode;

// Revision 1 is perfect, 2 was rejected, 3 is perfect and on 1.
class RevisionValidationTest : public testing::Test {
 protected:
  RevisionValidationTest() {
    h_.Start();
    h_.Run("s", 0, "Rome");
    h_.Run("s", 1, "bad");
    h_.Run("s", 2, "Paris");
    h_.coordinator->Stop();
  }
  absl::StatusOr<Validation> Validate(int64_t revision, double reliability = -1) {
    ValidateCommand command{Revision(revision), {}};
    if (reliability >= 0) command.thresholds.set_reliability(reliability);
    return ValidateAgain(h_.store, *h_.serving, h_.engine, command);
  }

  EditHarness h_;
};

TEST_F(RevisionValidationTest, MeasuresAgainWithTheThresholdsOfTheBatch) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Validation validation, Validate(1));
  EXPECT_TRUE(validation.gate.verdict.passed);
  EXPECT_EQ(validation.gate.verdict.thresholds.reliability, 0.9);
  EXPECT_EQ(validation.gate.verdict.scores.reliability, 1.0);
  ASSERT_EQ(validation.gate.edits.size(), 1u);
  EXPECT_EQ(validation.edits[0].target_new, "Rome");
}

TEST_F(RevisionValidationTest, OtherThresholdsMayGiveAnotherVerdictAndNothingChanges) {
  const RevisionRecord before = *h_.store.GetRevision(Revision(3));
  const int64_t writes = h_.store.write_count();
  AMEND_ASSERT_OK_AND_ASSIGN(const Validation validation, Validate(3, 1.01));
  EXPECT_FALSE(validation.gate.verdict.passed);
  EXPECT_EQ(h_.store.write_count(), writes);
  EXPECT_TRUE(*h_.store.GetRevision(Revision(3)) == before);
  EXPECT_EQ(h_.Live(), Revision(3));
}

TEST_F(RevisionValidationTest, WhatDoesNotServeCannotBeMeasured) {
  EXPECT_EQ(ReasonOf(Validate(0).status()), "UNEDITED_MODEL");
  EXPECT_EQ(ReasonOf(Validate(2).status()), "NOT_VALIDATED");
  EXPECT_EQ(ReasonOf(Validate(9).status()), "REVISION_NOT_FOUND");
  EXPECT_THAT(Validate(9), StatusIs(StatusCode::kNotFound));
}

TEST_F(RevisionValidationTest, ARevisionThatWithdrawsEditsHasNoBatchToMeasure) {
  StoreStep step;
  step.revision.emplace();
  step.revision->revision = Revision(4);
  step.revision->parent = Revision(3);
  step.revision->state = RevisionState::kValidated;
  step.revision->withdrawn = {{Revision(1), 0}};
  ASSERT_THAT(h_.store.Commit(step), IsOk());
  h_.serving->AddRevision(std::make_shared<const Snapshot>(Snapshot{Revision(4), nullptr}));
  EXPECT_EQ(ReasonOf(Validate(4).status()), "NO_BATCH");
}

TEST_F(RevisionValidationTest, ADeletedParentIsGoodEnoughToMeasureAgainst) {
  h_.serving->SetDeleted(Revision(1), true);
  EXPECT_THAT(Validate(3), IsOk());
}

}  // namespace
}  // namespace amend
