#include "server/recovery.h"

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/testing/fake_edit_engine.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Revisions: 1 (on 0), 2 (on 1), 3 (on 1), 4 (on 3), 5 rejected; live is 2.
class RecoveryTest : public testing::Test {
 protected:
  RecoveryTest() {
    for (const int64_t parent : {0, 1, 1, 3}) Add(parent, RevisionState::kValidated);
    Add(4, RevisionState::kRejected);
    Move("live", 2);
  }
  void Add(int64_t parent, RevisionState state, int64_t line_edits = 0) {
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = store_.LatestRevision().Next();
    step.revision->parent = Revision(parent);
    step.revision->state = state;
    step.revision->line_edit_count = line_edits;
    if (state == RevisionState::kValidated) step.factors = FactorsOf(step.revision->revision);
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  // Told by their first number.
  static RevisionFactors FactorsOf(Revision revision) {
    LayerFactors layer;
    layer.u = layer.v = layer.keys = {1, 1, {static_cast<float>(revision.value())}};
    layer.activations = {1};
    return {{layer}};
  }
  // Adds the next revision, which is `parent` less one edit of revision 1.
  void AddWithdrawal(int64_t parent) {
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = store_.LatestRevision().Next();
    step.revision->parent = Revision(parent);
    step.revision->state = RevisionState::kValidated;
    step.revision->withdrawn = {{Revision(1), 0}};
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  void Move(const std::string& label, int64_t to) {
    StoreStep step;
    step.label = LabelMove{label, Revision(to), std::nullopt};
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  void Mark(int64_t revision, RevisionMarks marks) {
    StoreStep step;
    step.marks = MarkChange{Revision(revision), marks};
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  absl::StatusOr<RecoveryReport> Recover() { return RecoverServing(store_, engine_, serving_); }

  InMemoryRevisionStore store_;
  FakeEditEngine engine_;
  ServingModel serving_{nullptr, std::shared_ptr<const HookStack>()};
};

TEST_F(RecoveryTest, EveryValidatedRevisionServesAgainAndLabelsStandWhereTheyStood) {
  Move("canary", 4);
  AMEND_ASSERT_OK_AND_ASSIGN(const RecoveryReport report, Recover());
  EXPECT_EQ(report.revisions, 4);
  EXPECT_EQ(report.live, Revision(2));
  EXPECT_THAT(report.skipped, IsEmpty());
  for (const int64_t revision : {1, 2, 3, 4})
    EXPECT_THAT(serving_.Resolve(Revision(revision)), IsOk());
  EXPECT_FALSE(serving_.Resolve(Revision(5)).ok());
  EXPECT_EQ((*serving_.Resolve("live"))->revision, Revision(2));
  EXPECT_EQ((*serving_.Resolve("canary"))->revision, Revision(4));
}

TEST_F(RecoveryTest, EveryRevisionGetsItsOwnFactors) {
  AddWithdrawal(2);
  for (int i = 0; i < 12; ++i) Add(store_.LatestRevision().value(), RevisionState::kValidated);
  Mark(18, {false, 7, 0});
  Mark(18, {false, 7, 9});
  store_.SetReadFactorsStatus(Revision(3), absl::DataLossError("factors/3/0/u is damaged"));
  ASSERT_THAT(Recover(), IsOk());
  std::map<Revision, RevisionFactors> extended = engine_.extended();
  EXPECT_THAT(extended, testing::SizeIs(2 + 11));
  for (const auto& [revision, factors] : extended) {
    EXPECT_EQ(factors.layers[0].u.values[0], static_cast<float>(revision.value()));
  }
}

TEST_F(RecoveryTest, EachRevisionIsToldHowManyEditsTheLongestLineThroughItHas) {
  // On 2: 6, and 8 on that; and 7. On 4: 9, which is purged. On 3: 10, which is rejected.
  Add(2, RevisionState::kValidated, 30);
  Add(2, RevisionState::kValidated, 40);
  Add(6, RevisionState::kValidated, 60);
  Add(4, RevisionState::kValidated, 90);
  Mark(9, {false, 7, 0});
  Mark(9, {false, 7, 9});
  Add(3, RevisionState::kRejected, 70);
  ASSERT_THAT(Recover(), IsOk());
  const std::map<Revision, int64_t> expected = {
      {Revision(1), 60}, {Revision(2), 60}, {Revision(3), 0}, {Revision(4), 0},
      {Revision(6), 60}, {Revision(7), 40}, {Revision(8), 60}};
  EXPECT_EQ(engine_.line_edits(), expected);
}

TEST_F(RecoveryTest, ManyMoreRevisionsThanAreReadAheadComeInTheirOrder) {
  Add(2, RevisionState::kValidated);
  for (int i = 0; i < 59; ++i) Add(store_.LatestRevision().value(), RevisionState::kValidated);
  store_.SetReadFactorsStatus(Revision(40), absl::DataLossError("factors/40/0/u is damaged"));
  AMEND_ASSERT_OK_AND_ASSIGN(const RecoveryReport report, Recover());
  // 1 to 4 and 6 to 39; 40 to 65 are skipped.
  EXPECT_EQ(report.revisions, 4 + 34);
  EXPECT_THAT(report.skipped, testing::SizeIs(26));
}

TEST_F(RecoveryTest, TheEnginesLineIsLeftToTheFirstBatch) {
  ASSERT_THAT(engine_.AppendToLine(Revision(1), {}), IsOk());
  ASSERT_THAT(Recover(), IsOk());
  EXPECT_THAT(engine_.line(), IsEmpty());
}

TEST_F(RecoveryTest, DamageOnTheLiveLineStopsTheStartAndIsNamed) {
  store_.SetReadFactorsStatus(Revision(1), absl::DataLossError("factors/1/0/u is damaged"));
  const auto report = Recover();
  EXPECT_THAT(report, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("revision 1")));
  EXPECT_EQ(ReasonOf(report.status()), "DIGEST_MISMATCH");
}

TEST_F(RecoveryTest, DamageOnTheLiveLineServesTheNewestIntactAncestorOnRequest) {
  Add(2, RevisionState::kValidated);
  Move("live", 6);
  store_.SetReadFactorsStatus(Revision(2), absl::DataLossError("factors/2/0/u is damaged"));
  AMEND_ASSERT_OK_AND_ASSIGN(const RecoveryReport report,
                             RecoverServing(store_, engine_, serving_, true));
  EXPECT_THAT(report.damage, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("revision 2")));
  EXPECT_EQ(report.live, Revision(6));
  EXPECT_EQ(report.served, Revision(1));
  EXPECT_EQ((*serving_.Resolve("live"))->revision, Revision(1));
  EXPECT_FALSE(serving_.Resolve(Revision(6)).ok());
  EXPECT_THAT(serving_.Resolve(Revision(4)), IsOk());
}

TEST_F(RecoveryTest, AnIntactLineIsServedWholeOnThatRequestToo) {
  AMEND_ASSERT_OK_AND_ASSIGN(const RecoveryReport report,
                             RecoverServing(store_, engine_, serving_, true));
  EXPECT_THAT(report.damage, IsOk());
  EXPECT_EQ(report.served, Revision(2));
}

TEST_F(RecoveryTest, DamageElsewhereSkipsTheRevisionAndWhatStandsOnIt) {
  Move("canary", 4);
  store_.SetReadFactorsStatus(Revision(3), absl::DataLossError("factors/3/0/u is damaged"));
  AMEND_ASSERT_OK_AND_ASSIGN(const RecoveryReport report, Recover());
  EXPECT_EQ(report.revisions, 2);
  EXPECT_THAT(report.skipped, ElementsAre(HasSubstr("revision 3"), HasSubstr("revision 4"),
                                          HasSubstr("\"canary\"")));
  EXPECT_EQ((*serving_.Resolve("live"))->revision, Revision(2));
}

TEST_F(RecoveryTest, RevisionsThatWithdrawEditsServeAgainAndSoDoesWhatIsBuiltOnThem) {
  AddWithdrawal(2);
  Add(6, RevisionState::kValidated);
  AddWithdrawal(4);
  Move("live", 7);
  Move("canary", 8);
  AMEND_ASSERT_OK_AND_ASSIGN(const RecoveryReport report, Recover());
  EXPECT_THAT(report.skipped, IsEmpty());
  EXPECT_EQ(report.revisions, 7);
  const std::vector<EditId> one = {{Revision(1), 0}};
  EXPECT_THAT(engine_.left_out(), ElementsAre(one, one));
  EXPECT_EQ((*serving_.Resolve("canary"))->revision, Revision(8));
}

TEST_F(RecoveryTest, BatchesThatWereNotSolvedComeInOrderOfArrival) {
  for (const char* session : {"b", "a"}) {
    LedgerEntry entry;
    entry.key = {session, 0};
    entry.actor = std::string("sender of ") + session;
    ASSERT_THAT(store_.AppendLedger(entry), IsOk());
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const RecoveryReport report, Recover());
  ASSERT_EQ(report.pending.size(), 2u);
  EXPECT_EQ(report.pending[0].key.session, "b");
  EXPECT_EQ(report.pending[1].key.session, "a");
  EXPECT_EQ(report.pending[0].actor, "sender of b");
  EXPECT_EQ(report.pending[1].actor, "sender of a");
}

TEST_F(RecoveryTest, ADeletedRevisionIsResidentForItsChildrenAndDoesNotServe) {
  Mark(3, {false, 7, 0});
  AMEND_ASSERT_OK_AND_ASSIGN(const RecoveryReport report, Recover());
  EXPECT_THAT(report.skipped, IsEmpty());
  EXPECT_EQ(ReasonOf(serving_.Resolve(Revision(3)).status()), "REVISION_DELETED");
  EXPECT_THAT(serving_.Resident(Revision(3)), IsOk());
  EXPECT_THAT(serving_.Resolve(Revision(4)), IsOk());
}

TEST_F(RecoveryTest, APurgedRevisionIsKnownAsSuchAndNothingIsAmiss) {
  for (const int64_t revision : {4, 3}) {
    Mark(revision, {false, 7, 0});
    Mark(revision, {false, 7, 9});
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const RecoveryReport report, Recover());
  EXPECT_THAT(report.skipped, IsEmpty());
  EXPECT_EQ(report.revisions, 2);
  EXPECT_EQ(ReasonOf(serving_.Resolve(Revision(3)).status()), "REVISION_PURGED");
  EXPECT_THAT(serving_.Resolve(Revision(2)), IsOk());
}

}  // namespace
}  // namespace amend
