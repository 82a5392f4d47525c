#include "server/revision_line.h"

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/testing/fake_edit_engine.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

using testing::ElementsAre;
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
  EXPECT_THAT(*LineOf(store_, Revision(3)), ElementsAre(Revision(1), Revision(3)));
  EXPECT_THAT(*LineOf(store_, Revision(0)), IsEmpty());
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

TEST_F(RevisionLineTest, PrepareBeginsAnewForAnotherLine) {
  Add(0, "s", BatchState::kLive);
  Add(0, "s", BatchState::kLive);
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(1)), IsOk());
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(2)), IsOk());
  EXPECT_THAT(engine_.line(), ElementsAre(Revision(2)));
  ASSERT_THAT(PrepareLine(store_, engine_, Revision(0)), IsOk());
  EXPECT_THAT(engine_.line(), IsEmpty());
}

}  // namespace
}  // namespace amend
