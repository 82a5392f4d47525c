#include "server/revision_line.h"

#include <utility>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/testing/fake_edit_engine.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

class RevisionLineTest : public testing::Test {
 protected:
  // Adds the next revision, made by the next batch of `session`, whose ledger state becomes
  // `state`.
  void Add(int64_t parent, const std::string& session, BatchState state) {
    LedgerEntry entry;
    entry.key = {session, *store_.NextOffset(session)};
    ASSERT_THAT(store_.AppendLedger(entry), IsOk());
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = store_.LatestRevision().Next();
    step.revision->parent = Revision(parent);
    step.revision->batch = entry.key;
    step.revision->state =
        state == BatchState::kRejected ? RevisionState::kRejected : RevisionState::kValidated;
    if (state != BatchState::kRejected) step.factors.emplace();
    entry.state = state;
    entry.revision = step.revision->revision;
    step.ledger = entry;
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  // Adds the next revision, which brings `edits` edits.
  void AddEdits(int64_t parent, int64_t edits) {
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = store_.LatestRevision().Next();
    step.revision->parent = Revision(parent);
    step.revision->state = RevisionState::kValidated;
    step.factors.emplace();
    step.factors->layers.resize(1);
    LayerFactors& layer = step.factors->layers[0];
    layer.activations.assign(static_cast<size_t>(edits), 1);
    layer.u = layer.v = layer.keys = {edits, 1, layer.activations};
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  // Adds the next revision, which is `parent` less `edits`.
  void AddWithdrawal(int64_t parent, std::vector<EditId> edits) {
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = store_.LatestRevision().Next();
    step.revision->parent = Revision(parent);
    step.revision->state = RevisionState::kValidated;
    step.revision->withdrawn = std::move(edits);
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  int64_t ParentOfNext(const std::string& session, int64_t live) {
    LedgerEntry entry;
    entry.key = {session, *store_.NextOffset(session)};
    entry.promotion = PromotionPolicy::kStageOnly;
    return ChooseParent(store_, entry, Revision(live))->value();
  }

  InMemoryRevisionStore store_;
  FakeEditEngine engine_;
};

TEST_F(RevisionLineTest, ALineGoesFromTheFirstRevisionToItsHead) {
  Add(0, "s", BatchState::kLive);
  Add(0, "s", BatchState::kLive);
  Add(1, "s", BatchState::kLive);
  EXPECT_THAT(*RecordsOf(store_, Revision(3)),
              ElementsAre(Field(&RevisionRecord::revision, Revision(1)),
                          Field(&RevisionRecord::revision, Revision(3))));
  EXPECT_THAT(*RecordsOf(store_, Revision(0)), IsEmpty());
}

TEST_F(RevisionLineTest, AStagingSessionBuildsOnItsLastValidatedBatch) {
  Add(0, "s", BatchState::kValidated);
  Add(1, "s", BatchState::kValidated);
  Add(2, "s", BatchState::kRejected);
  EXPECT_EQ(ParentOfNext("s", 0), 2);
}

TEST_F(RevisionLineTest, AStagingSessionGoesOnBehindAPromotionOfItsOwnBatch) {
  Add(0, "s", BatchState::kLive);
  Add(1, "s", BatchState::kValidated);
  EXPECT_EQ(ParentOfNext("s", 1), 2);
}

TEST_F(RevisionLineTest, AStagingSessionStartsAtLiveWhenThatIsNotBelowItsBatches) {
  Add(0, "s", BatchState::kValidated);
  Add(0, "t", BatchState::kLive);
  EXPECT_EQ(ParentOfNext("s", 2), 2);
}

TEST_F(RevisionLineTest, StagedBatchesOnTopOfWhatWasRolledBackAreLeftAside) {
  Add(0, "t", BatchState::kLive);
  Add(1, "s", BatchState::kValidated);
  EXPECT_EQ(ParentOfNext("s", 0), 0);
}

TEST_F(RevisionLineTest, APromotedBatchOfTheSameSessionThatWasRolledBackIsLeftAside) {
  Add(0, "s", BatchState::kLive);
  Add(1, "s", BatchState::kValidated);
  EXPECT_EQ(ParentOfNext("s", 0), 0);
}

TEST_F(RevisionLineTest, PrepareAppendsOnlyWhatIsMissing) {
  Add(0, "s", BatchState::kLive);
  Add(1, "s", BatchState::kLive);
  ASSERT_THAT(engine_.AppendToLine(Revision(1), {}), IsOk());
  // Would fail if it was read again.
  store_.SetReadFactorsStatus(Revision(1), absl::DataLossError("damaged"));
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(2)), IsOk());
  EXPECT_THAT(engine_.line(), ElementsAre(Revision(1), Revision(2)));
}

TEST_F(RevisionLineTest, KeysOfWithdrawnEditsNeverEnterTheLine) {
  AddEdits(0, 3);
  AddEdits(1, 4);
  AddWithdrawal(2, {{Revision(1), 1}, {Revision(2), 0}, {Revision(2), 3}});
  AddEdits(3, 2);
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(4)), IsOk());
  EXPECT_THAT(engine_.line(), ElementsAre(Revision(1), Revision(2), Revision(3), Revision(4)));
  EXPECT_EQ(engine_.line_keys(), 2 + 2 + 2);
}

TEST_F(RevisionLineTest, PrepareBeginsAnewBehindARevisionThatWithdrawsWhatTheLineHolds) {
  AddEdits(0, 3);
  AddEdits(1, 4);
  AddWithdrawal(2, {{Revision(1), 1}});
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(2)), IsOk());
  EXPECT_EQ(engine_.line_keys(), 7);
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(3)), IsOk());
  EXPECT_THAT(engine_.line(), ElementsAre(Revision(1), Revision(2), Revision(3)));
  EXPECT_EQ(engine_.line_keys(), 6);
  // And back over it.
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(2)), IsOk());
  EXPECT_EQ(engine_.line_keys(), 7);
}

TEST_F(RevisionLineTest, PrepareGoesOnWhereOnlyLaterEditsAreWithdrawn) {
  AddEdits(0, 3);
  AddEdits(1, 4);
  AddWithdrawal(2, {{Revision(2), 1}});
  AddEdits(3, 1);
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(1)), IsOk());
  // Would fail if it was read again.
  store_.SetReadFactorsStatus(Revision(1), absl::DataLossError("damaged"));
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(4)), IsOk());
  EXPECT_EQ(engine_.line_keys(), 3 + 3 + 1);
}

TEST_F(RevisionLineTest, TheLineGoesOnBehindAWithdrawalThatItHolds) {
  AddEdits(0, 3);
  AddWithdrawal(1, {{Revision(1), 0}});
  AddEdits(2, 1);
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(2)), IsOk());
  store_.SetReadFactorsStatus(Revision(1), absl::DataLossError("damaged"));
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(3)), IsOk());
  EXPECT_EQ(engine_.line_keys(), 2 + 1);
}

TEST_F(RevisionLineTest, PrepareStopsWhenToldToAndGoesOnWhereItWas) {
  for (int64_t parent = 0; parent < 3; ++parent) Add(parent, "s", BatchState::kLive);
  int asked = 0;
  EXPECT_THAT(PrepareLine(store_, engine_, Revision(3), [&] { return ++asked < 3; }),
              StatusIs(absl::StatusCode::kCancelled, HasSubstr("before revision 3")));
  EXPECT_THAT(engine_.line(), ElementsAre(Revision(1), Revision(2)));
  // Would fail if it was read again.
  store_.SetReadFactorsStatus(Revision(1), absl::DataLossError("damaged"));
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(3)), IsOk());
  EXPECT_THAT(engine_.line(), ElementsAre(Revision(1), Revision(2), Revision(3)));
}

TEST_F(RevisionLineTest, PrepareBeginsAnewForAnotherLine) {
  Add(0, "s", BatchState::kLive);
  Add(0, "s", BatchState::kLive);
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(1)), IsOk());
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(2)), IsOk());
  EXPECT_THAT(engine_.line(), ElementsAre(Revision(2)));
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(0)), IsOk());
  EXPECT_THAT(engine_.line(), IsEmpty());
}

TEST_F(RevisionLineTest, StagingDoesNotBuildOnADeletedRevision) {
  Add(0, "s", BatchState::kLive);
  Add(1, "s", BatchState::kValidated);
  EXPECT_EQ(ParentOfNext("s", 1), 2);
  StoreStep step;
  step.marks = MarkChange{Revision(2), {false, 7, 0}};
  ASSERT_THAT(store_.Commit(step), IsOk());
  EXPECT_EQ(ParentOfNext("s", 1), 1);
}

}  // namespace
}  // namespace amend
