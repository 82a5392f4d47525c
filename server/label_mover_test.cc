#include "server/label_mover.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

using testing::HasSubstr;

class LabelMoverTest : public testing::Test {
 protected:
  // Revisions 1 and 3 are validated, 2 is rejected; 3 has parent 1.
  LabelMoverTest() {
    AddRevision(1, 0, RevisionState::kValidated);
    AddRevision(2, 1, RevisionState::kRejected);
    AddRevision(3, 1, RevisionState::kValidated);
  }

  // Remembers the norms that it is told.
  struct NormObserver : EditObserver {
    void UpdateNormRatio(LayerIndex layer, double ratio) override { ratios[layer] = ratio; }
    std::map<LayerIndex, double> ratios;
  };

  void AddRevision(int64_t number, int64_t parent, RevisionState state) {
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = Revision(number);
    step.revision->parent = Revision(parent);
    step.revision->state = state;
    step.revision->norms = {{LayerIndex(2), 0.1 * static_cast<double>(number)}};
    if (state == RevisionState::kValidated) step.factors.emplace();
    ASSERT_THAT(store_.Commit(step), IsOk());
    if (state != RevisionState::kValidated) return;
    serving_.AddRevision(std::make_shared<const Snapshot>(Snapshot{Revision(number), nullptr}));
  }
  absl::StatusOr<LabelMoved> Promote(const std::string& label, int64_t revision,
                                     std::optional<std::string> etag = std::nullopt) {
    return mover_.Promote({label, Revision(revision), std::move(etag), "", "me"});
  }
  absl::StatusOr<LabelMoved> Rollback(const std::string& label, std::optional<Revision> target) {
    return mover_.Rollback({label, target, std::nullopt, "because", "me"});
  }
  absl::StatusOr<LabelMoved> Set(const std::string& label, int64_t revision,
                                 std::optional<std::string> etag = std::nullopt) {
    return mover_.Set({label, Revision(revision), std::move(etag), "because", "me"});
  }
  absl::StatusOr<LabelRecord> Delete(const std::string& label,
                                     std::optional<std::string> etag = std::nullopt) {
    return mover_.Delete({label, std::move(etag), "because", "me"});
  }
  void MarkDeleted(int64_t revision, int64_t purge_time_us) {
    StoreStep step;
    step.marks = MarkChange{Revision(revision), {false, 7, purge_time_us}};
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  Revision At(const std::string& label) { return (*serving_.Resolve(label))->revision; }

  InMemoryRevisionStore store_;
  ServingModel serving_{nullptr, std::shared_ptr<const HookStack>()};
  NormObserver observer_;
  RevisionEventHub changes_;
  LabelMover mover_{&store_, &serving_, &changes_, &observer_,
                    [] { return absl::FromUnixMicros(77); }};
};

TEST_F(LabelMoverTest, PromoteMovesStoreAndServingAndWritesTheAuditTrail) {
  AMEND_ASSERT_OK_AND_ASSIGN(const LabelMoved moved, Promote("live", 3));
  EXPECT_EQ(moved.label.revision, Revision(3));
  EXPECT_EQ(moved.label.generation, store_.GetLabel("live")->generation);
  EXPECT_EQ(At("live"), Revision(3));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, store_.ListAudit(INT64_MAX, 1));
  EXPECT_EQ(audit[0].verb, "promote");
  EXPECT_EQ(audit[0].actor, "me");
  EXPECT_EQ(audit[0].to, Revision(3));
  EXPECT_EQ(audit[0].time_us, 77);
}

TEST_F(LabelMoverTest, TheNormsOfWhatIsLiveAreToldAfterEveryMove) {
  ASSERT_THAT(Promote("live", 3), IsOk());
  EXPECT_DOUBLE_EQ(observer_.ratios[LayerIndex(2)], 0.3);
  ASSERT_THAT(Rollback("live", std::nullopt), IsOk());
  EXPECT_DOUBLE_EQ(observer_.ratios[LayerIndex(2)], 0.1);
  ASSERT_THAT(Promote("other", 3), IsOk());
  EXPECT_DOUBLE_EQ(observer_.ratios[LayerIndex(2)], 0.1);
  ASSERT_THAT(Rollback("live", std::nullopt), IsOk());
  EXPECT_DOUBLE_EQ(observer_.ratios[LayerIndex(2)], 0);
}

TEST_F(LabelMoverTest, PromoteOfAnUnknownRevisionNamesTheLatest) {
  const auto moved = Promote("live", 9);
  EXPECT_THAT(moved, StatusIs(absl::StatusCode::kNotFound, HasSubstr("latest is 3")));
  EXPECT_EQ(ReasonOf(moved.status()), "REVISION_NOT_FOUND");
}

TEST_F(LabelMoverTest, PromoteOfARejectedRevisionIsRefused) {
  const auto moved = Promote("live", 2);
  EXPECT_THAT(moved, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("rejected")));
  EXPECT_EQ(ReasonOf(moved.status()), "NOT_VALIDATED");
}

TEST_F(LabelMoverTest, PromoteOfARevisionThatIsNotResidentIsRefused) {
  StoreStep step;
  step.revision.emplace();
  step.revision->revision = Revision(4);
  step.revision->state = RevisionState::kValidated;
  step.factors.emplace();
  ASSERT_THAT(store_.Commit(step), IsOk());
  EXPECT_EQ(ReasonOf(Promote("live", 4).status()), "NOT_RESIDENT");
}

TEST_F(LabelMoverTest, AStaleEtagIsRefusedWithBothValues) {
  ASSERT_THAT(Promote("live", 1, "0"), IsOk());
  const auto moved = Promote("live", 3, "0");
  EXPECT_THAT(moved, StatusIs(absl::StatusCode::kAborted, HasSubstr("etag 1, not 0")));
  EXPECT_EQ(At("live"), Revision(1));
}

TEST_F(LabelMoverTest, PromoteToWhereTheLabelStandsChangesNothing) {
  ASSERT_THAT(Promote("live", 1), IsOk());
  const int64_t writes = store_.write_count();
  AMEND_ASSERT_OK_AND_ASSIGN(const LabelMoved moved, Promote("live", 1));
  EXPECT_EQ(moved.previous, Revision(1));
  EXPECT_EQ(store_.write_count(), writes);
}

TEST_F(LabelMoverTest, PromoteMakesALabelThatDoesNotExist) {
  ASSERT_THAT(Promote("canary", 1), IsOk());
  EXPECT_EQ(At("canary"), Revision(1));
  EXPECT_EQ(At("live"), kBaseRevision);
}

TEST_F(LabelMoverTest, RollbackToThePreviousRevisionGoesToTheParent) {
  ASSERT_THAT(Promote("live", 3), IsOk());
  ASSERT_THAT(Rollback("live", std::nullopt), IsOk());
  EXPECT_EQ(At("live"), Revision(1));
}

TEST_F(LabelMoverTest, RollbackOnlyGoesBack) {
  ASSERT_THAT(Promote("live", 1), IsOk());
  EXPECT_EQ(ReasonOf(Rollback("live", Revision(3)).status()), "NOT_EARLIER");
  EXPECT_EQ(ReasonOf(Rollback("live", Revision(1)).status()), "SAME_REVISION");
}

TEST_F(LabelMoverTest, TheUneditedModelHasNoPreviousRevision) {
  EXPECT_EQ(ReasonOf(Rollback("live", std::nullopt).status()), "NO_PREVIOUS_REVISION");
}

TEST_F(LabelMoverTest, RollbackOfAnUnknownLabelIsNotFound) {
  const auto moved = Rollback("canary", Revision(0));
  EXPECT_THAT(moved, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(ReasonOf(moved.status()), "LABEL_NOT_FOUND");
}

TEST_F(LabelMoverTest, AWriteThatFailsMovesNothing) {
  store_.SetWriteStatus(absl::UnavailableError("I/O error"));
  EXPECT_EQ(ReasonOf(Promote("live", 1).status()), "STORE_READ_ONLY");
  EXPECT_EQ(At("live"), kBaseRevision);
}

TEST_F(LabelMoverTest, SetMovesALabelForwardAndBackAndKeepsTheReason) {
  AMEND_ASSERT_OK_AND_ASSIGN(const LabelMoved made, Set("canary", 3));
  EXPECT_TRUE(made.is_new);
  AMEND_ASSERT_OK_AND_ASSIGN(const LabelMoved back, Set("canary", 1));
  EXPECT_FALSE(back.is_new);
  EXPECT_EQ(back.previous, Revision(3));
  EXPECT_EQ(At("canary"), Revision(1));
  EXPECT_EQ(At("live"), kBaseRevision);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, store_.ListAudit(INT64_MAX, 1));
  EXPECT_EQ(audit[0].verb, "set_label");
  EXPECT_EQ(audit[0].label, "canary");
  EXPECT_EQ(audit[0].reason, "because");
  EXPECT_EQ(audit[0].from, Revision(3));
}

TEST_F(LabelMoverTest, ASetWithAStaleEtagIsRefusedAndZeroMeansThatItIsNew) {
  ASSERT_THAT(Set("canary", 1, "0"), IsOk());
  EXPECT_EQ(ReasonOf(Set("canary", 3, "0").status()), "LIVE_CHANGED");
  EXPECT_EQ(ReasonOf(Set("other", 3, "1").status()), "LIVE_CHANGED");
  ASSERT_THAT(Set("canary", 3, "1"), IsOk());
}

TEST_F(LabelMoverTest, ALabelGoesOnlyWhereGenerationMay) {
  EXPECT_EQ(ReasonOf(Set("canary", 2).status()), "NOT_VALIDATED");
  EXPECT_EQ(ReasonOf(Set("canary", 9).status()), "REVISION_NOT_FOUND");
  MarkDeleted(3, 0);
  for (const absl::Status& status : {Set("canary", 3).status(), Promote("live", 3).status(),
                                     Rollback("live", Revision(3)).status()}) {
    EXPECT_EQ(ReasonOf(status), "REVISION_DELETED");
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
  }
  MarkDeleted(3, 9);
  for (const absl::Status& status : {Set("canary", 3).status(), Promote("live", 3).status(),
                                     Rollback("live", Revision(3)).status()}) {
    EXPECT_EQ(ReasonOf(status), "REVISION_PURGED");
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
  }
  EXPECT_FALSE(serving_.Resolve("canary").ok());
}

TEST_F(LabelMoverTest, ADeletedLabelIsGoneFromStoreAndServing) {
  ASSERT_THAT(Set("canary", 3), IsOk());
  EXPECT_EQ(ReasonOf(Delete("canary", "7").status()), "LIVE_CHANGED");
  AMEND_ASSERT_OK_AND_ASSIGN(const LabelRecord label, Delete("canary", "1"));
  EXPECT_EQ(label.revision, Revision(3));
  EXPECT_FALSE(serving_.Resolve("canary").ok());
  EXPECT_EQ(ReasonOf(Delete("canary").status()), "LABEL_NOT_FOUND");
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, store_.ListAudit(INT64_MAX, 1));
  EXPECT_EQ(audit[0].verb, "delete_label");
  EXPECT_EQ(audit[0].from, Revision(3));
  // A compare-and-set on the old label must not hit the new one.
  AMEND_ASSERT_OK_AND_ASSIGN(const LabelMoved again, Set("canary", 1, "0"));
  EXPECT_EQ(again.label.generation, 2);
}

TEST_F(LabelMoverTest, ThereAreOnlySoManyLabels) {
  for (int i = 1; i < LabelMover::kMaxLabels; ++i) {
    ASSERT_THAT(Set(absl::StrCat("label-", i), 1), IsOk());
  }
  const auto refused = Set("one-more", 1);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("256")));
  EXPECT_EQ(ReasonOf(refused.status()), "TOO_MANY_LABELS");
  EXPECT_THAT(Set("label-1", 3), IsOk());
}

}  // namespace
}  // namespace amend
