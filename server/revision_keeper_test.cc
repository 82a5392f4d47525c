#include "server/revision_keeper.h"

#include <memory>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Verb = MarkCommand::Verb;

// Revisions: 1 on 0, 2 and 3 on 1, 4 on 3, 5 rejected; live is 2. It is second 1000.
class RevisionKeeperTest : public testing::Test {
 protected:
  RevisionKeeperTest() {
    for (const int64_t parent : {0, 1, 1, 3}) Add(parent, RevisionState::kValidated);
    Add(4, RevisionState::kRejected);
    Label("live", 2);
    MakeKeeper({});
  }
  void MakeKeeper(const RetentionPolicy& policy) {
    keeper_ = std::make_unique<RevisionKeeper>(&store_, &serving_, &changes_, policy,
                                               [this] { return now_; });
  }
  void Add(int64_t parent, RevisionState state) {
    const Revision revision = store_.LatestRevision().Next();
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = revision;
    step.revision->parent = Revision(parent);
    step.revision->state = state;
    step.revision->create_time_us = absl::ToUnixMicros(now_);
    if (state == RevisionState::kValidated) step.factors.emplace();
    ASSERT_THAT(store_.Commit(step), IsOk());
    if (state != RevisionState::kValidated) return;
    serving_.AddRevision(std::make_shared<const Snapshot>(Snapshot{revision, nullptr}));
  }
  void Label(const std::string& name, int64_t revision) {
    StoreStep step;
    step.label = LabelMove{name, Revision(revision), std::nullopt};
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  absl::StatusOr<RevisionRecord> Mark(Verb verb, int64_t revision) {
    return keeper_->Mark({verb, Revision(revision), "because", "me"});
  }
  absl::StatusOr<Purged> Purge(bool without_delay = true, bool dry_run = false) {
    return keeper_->Purge({without_delay, dry_run, "because", "me"});
  }
  std::string ReasonFor(Verb verb, int64_t revision) {
    return ReasonOf(Mark(verb, revision).status());
  }
  std::string ServingReason(int64_t revision) {
    return ReasonOf(serving_.Resolve(Revision(revision)).status());
  }

  absl::Time now_ = absl::FromUnixSeconds(1000);
  InMemoryRevisionStore store_;
  ServingModel serving_{nullptr, std::shared_ptr<const HookStack>()};
  RevisionEventHub changes_;
  std::unique_ptr<RevisionKeeper> keeper_;
};

TEST_F(RevisionKeeperTest, ADeletedRevisionDoesNotServeUntilItIsUndeleted) {
  AMEND_ASSERT_OK_AND_ASSIGN(const RevisionRecord deleted, Mark(Verb::kDelete, 4));
  EXPECT_EQ(deleted.marks.delete_time_us, 1000'000'000);
  EXPECT_TRUE(*store_.GetRevision(Revision(4)) == deleted);
  EXPECT_EQ(ServingReason(4), "REVISION_DELETED");
  AMEND_ASSERT_OK_AND_ASSIGN(const RevisionRecord back, Mark(Verb::kUndelete, 4));
  EXPECT_TRUE(back.marks == RevisionMarks());
  EXPECT_THAT(serving_.Resolve(Revision(4)), IsOk());
}

TEST_F(RevisionKeeperTest, WhatADeletedRevisionCarriesGoesOnToServe) {
  ASSERT_THAT(Mark(Verb::kDelete, 3), IsOk());
  EXPECT_THAT(serving_.Resolve(Revision(4)), IsOk());
}

TEST_F(RevisionKeeperTest, EveryVerbLeavesAnAuditRecord) {
  for (const Verb verb : {Verb::kPin, Verb::kUnpin, Verb::kDelete, Verb::kUndelete, Verb::kDelete})
    ASSERT_THAT(Mark(verb, 4), IsOk());
  ASSERT_THAT(Purge(), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, store_.ListAudit(INT64_MAX, 100));
  std::vector<std::string> verbs;
  for (const AuditRecord& record : audit) {
    verbs.push_back(record.verb);
    EXPECT_EQ(record.actor, "me");
    EXPECT_EQ(record.reason, "because");
    EXPECT_EQ(record.to, Revision(4));
    EXPECT_EQ(record.from, Revision(4));
    EXPECT_EQ(record.label, "");
    EXPECT_EQ(record.time_us, 1000'000'000);
  }
  EXPECT_THAT(verbs, ElementsAre("purge", "delete", "undelete", "delete", "unpin", "pin"));
}

TEST_F(RevisionKeeperTest, WhatIsAsItIsAskedToBeIsLeftAlone) {
  ASSERT_THAT(Mark(Verb::kDelete, 4), IsOk());
  const int64_t writes = store_.write_count();
  now_ += absl::Seconds(5);
  AMEND_ASSERT_OK_AND_ASSIGN(const RevisionRecord again, Mark(Verb::kDelete, 4));
  EXPECT_EQ(again.marks.delete_time_us, 1000'000'000);
  ASSERT_THAT(Mark(Verb::kUnpin, 3), IsOk());
  ASSERT_THAT(Mark(Verb::kUndelete, 3), IsOk());
  EXPECT_EQ(store_.write_count(), writes);
}

TEST_F(RevisionKeeperTest, WhatCannotBeDoneHasItsReason) {
  EXPECT_EQ(ReasonFor(Verb::kDelete, 9), "REVISION_NOT_FOUND");
  EXPECT_EQ(ReasonFor(Verb::kDelete, 0), "UNEDITED_MODEL");
  EXPECT_EQ(ReasonFor(Verb::kDelete, 5), "NOT_VALIDATED");
  EXPECT_EQ(ReasonFor(Verb::kPin, 5), "NOT_VALIDATED");
  EXPECT_EQ(ReasonFor(Verb::kDelete, 2), "REVISION_LABELLED");
  ASSERT_THAT(Mark(Verb::kPin, 4), IsOk());
  EXPECT_EQ(ReasonFor(Verb::kDelete, 4), "REVISION_PINNED");
  ASSERT_THAT(Mark(Verb::kUnpin, 4), IsOk());
  ASSERT_THAT(Mark(Verb::kDelete, 4), IsOk());
  ASSERT_THAT(Purge(), IsOk());
  for (const Verb verb : {Verb::kPin, Verb::kUnpin, Verb::kDelete, Verb::kUndelete}) {
    EXPECT_EQ(ReasonFor(verb, 4), "REVISION_PURGED");
  }
}

TEST_F(RevisionKeeperTest, APurgeTakesFactorsAndSnapshotAndLeavesTheRecord) {
  ASSERT_THAT(Mark(Verb::kDelete, 4), IsOk());
  const std::weak_ptr<const Snapshot> snapshot = *serving_.Resident(Revision(4));
  AMEND_ASSERT_OK_AND_ASSIGN(const Purged purged, Purge());
  EXPECT_THAT(purged.revisions, ElementsAre(Revision(4)));
  EXPECT_FALSE(purged.more);
  EXPECT_TRUE(snapshot.expired());
  EXPECT_EQ(ServingReason(4), "REVISION_PURGED");
  EXPECT_THAT(store_.ReadFactors(Revision(4)), StatusIs(StatusCode::kNotFound));
  AMEND_ASSERT_OK_AND_ASSIGN(const RevisionRecord record, store_.GetRevision(Revision(4)));
  EXPECT_EQ(record.state, RevisionState::kValidated);
  EXPECT_EQ(record.marks.purge_time_us, 1000'000'000);
}

TEST_F(RevisionKeeperTest, AReaderKeepsTheSnapshotOfAPurgedRevision) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto snapshot, serving_.Resolve(Revision(4)));
  ASSERT_THAT(Mark(Verb::kDelete, 4), IsOk());
  ASSERT_THAT(Purge(), IsOk());
  EXPECT_EQ(snapshot->revision, Revision(4));
  EXPECT_EQ(snapshot.use_count(), 1);
}

TEST_F(RevisionKeeperTest, APurgeLeavesWhatSomethingIsBuiltOn) {
  ASSERT_THAT(Mark(Verb::kDelete, 3), IsOk());
  ASSERT_THAT(Mark(Verb::kDelete, 1), IsOk());
  EXPECT_THAT(Purge()->revisions, IsEmpty());
  ASSERT_THAT(Mark(Verb::kDelete, 4), IsOk());
  EXPECT_THAT(Purge()->revisions, ElementsAre(Revision(4), Revision(3)));
  EXPECT_THAT(store_.ReadFactors(Revision(1)), IsOk());
}

TEST_F(RevisionKeeperTest, APurgeWaitsForTheDelayUnlessItIsToldNotTo) {
  ASSERT_THAT(Mark(Verb::kDelete, 4), IsOk());
  now_ += absl::Hours(7 * 24) - absl::Seconds(1);
  EXPECT_THAT(Purge(/*without_delay=*/false)->revisions, IsEmpty());
  now_ += absl::Seconds(1);
  EXPECT_THAT(Purge(/*without_delay=*/false, /*dry_run=*/true)->revisions,
              ElementsAre(Revision(4)));
  EXPECT_THAT(store_.ReadFactors(Revision(4)), IsOk());
  EXPECT_THAT(Purge(/*without_delay=*/false)->revisions, ElementsAre(Revision(4)));
}

TEST_F(RevisionKeeperTest, ALongPurgeEndsEarlyAndGoesOnNextTime) {
  for (int i = 0; i < RevisionKeeper::kMaxPurge; ++i) {
    Add(4, RevisionState::kValidated);
    ASSERT_THAT(Mark(Verb::kDelete, store_.LatestRevision().value()), IsOk());
  }
  ASSERT_THAT(Mark(Verb::kDelete, 4), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const Purged first, Purge());
  EXPECT_EQ(first.revisions.size(), static_cast<size_t>(RevisionKeeper::kMaxPurge));
  EXPECT_TRUE(first.more);
  AMEND_ASSERT_OK_AND_ASSIGN(const Purged second, Purge());
  EXPECT_THAT(second.revisions, ElementsAre(Revision(4)));
  EXPECT_FALSE(second.more);
}

TEST_F(RevisionKeeperTest, ASweepDeletesByThePolicyAndPurgesAfterTheDelay) {
  RetentionPolicy policy;
  policy.keep_newest = 1;
  policy.purge_delay = absl::Hours(1);
  MakeKeeper(policy);
  Add(0, RevisionState::kValidated);
  EXPECT_THAT(keeper_->Sweep()->revisions, IsEmpty());
  // 6 is the newest, 2 is live and stands on 1.
  EXPECT_EQ(ServingReason(3), "REVISION_DELETED");
  EXPECT_EQ(ServingReason(4), "REVISION_DELETED");
  for (const int64_t revision : {1, 2, 6}) EXPECT_EQ(ServingReason(revision), "");
  now_ += absl::Hours(1);
  EXPECT_THAT(keeper_->Sweep()->revisions, ElementsAre(Revision(4), Revision(3)));
  EXPECT_THAT(keeper_->Sweep()->revisions, IsEmpty());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, store_.ListAudit(INT64_MAX, 1));
  EXPECT_EQ(audit[0].actor, "retention");
}

TEST_F(RevisionKeeperTest, AWriteThatFailsChangesNothing) {
  store_.SetWriteStatus(absl::UnavailableError("I/O error"));
  EXPECT_EQ(ReasonFor(Verb::kDelete, 4), "STORE_READ_ONLY");
  EXPECT_EQ(ServingReason(4), "");
}

}  // namespace
}  // namespace amend
