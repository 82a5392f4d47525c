#ifndef AMEND_STORAGE_TESTING_REVISION_STORE_CONFORMANCE_H_
#define AMEND_STORAGE_TESTING_REVISION_STORE_CONFORMANCE_H_

// What every RevisionStore must do: one test per sentence of its header. An implementation's test
// includes this and says
//   INSTANTIATE_TEST_SUITE_P(InMemory, RevisionStoreConformance, testing::Values(MakeHarness));

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/revision_store.h"
#include "storage/testing/random_records.h"

namespace amend {

// Holds a store that is new at first. Not thread-safe.
class StoreHarness {
 public:
  virtual ~StoreHarness() = default;
  virtual RevisionStore& store() = 0;
  // Closes the store and opens it again.
  virtual void Reopen() = 0;
};

using HarnessFactory = std::function<std::unique_ptr<StoreHarness>()>;

class RevisionStoreConformance : public testing::TestWithParam<HarnessFactory> {
 protected:
  RevisionStore& store() { return harness_->store(); }
  void Reopen() { harness_->Reopen(); }

  LedgerEntry Entry(const std::string& session, int64_t offset) {
    return random_.Ledger({session, offset}, BatchState::kDurable);
  }
  // Appends an entry that must fit and returns it as stored.
  LedgerEntry Append(const std::string& session, int64_t offset) {
    LedgerEntry entry = Entry(session, offset);
    const absl::StatusOr<int64_t> sequence = store().AppendLedger(entry);
    EXPECT_THAT(sequence, IsOk());
    entry.sequence = sequence.value_or(-1);
    return entry;
  }
  // A step with the next revision.
  StoreStep RevisionStep(RevisionState state = RevisionState::kValidated) {
    StoreStep step;
    const Revision latest = store().LatestRevision();
    step.revision = random_.Record(latest.Next(), latest, state);
    if (state != RevisionState::kRejected) step.factors = random_.Factors();
    return step;
  }
  static StoreStep MoveLabel(const std::string& name, int64_t to,
                             std::optional<int64_t> expected = std::nullopt) {
    StoreStep step;
    step.label = LabelMove{name, Revision(to), expected};
    return step;
  }

  static StoreStep DeleteLabel(const std::string& name,
                               std::optional<int64_t> expected = std::nullopt) {
    StoreStep step;
    step.label_deletion = LabelDeletion{name, expected};
    return step;
  }
  static StoreStep Mark(int64_t revision, RevisionMarks marks) {
    StoreStep step;
    step.marks = MarkChange{Revision(revision), marks};
    return step;
  }

  std::unique_ptr<StoreHarness> harness_ = GetParam()();
  RandomRecords random_{20240229};
};

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RevisionStoreConformance);

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- A new store -------------------------------------------------------------------------------

TEST_P(RevisionStoreConformance, ANewStoreHasNoIdentity) {
  EXPECT_FALSE(store().identity().has_value());
}

TEST_P(RevisionStoreConformance, ANewStoreIsAtRevisionZero) {
  EXPECT_EQ(store().LatestRevision(), kBaseRevision);
}

TEST_P(RevisionStoreConformance, ANewStoreHasTheLiveLabelAtRevisionZeroGenerationZero) {
  const LabelRecord expected{"live", kBaseRevision, 0};
  AMEND_ASSERT_OK_AND_ASSIGN(const LabelRecord label, store().GetLabel(kLiveLabel));
  EXPECT_TRUE(label == expected);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto labels, store().ListLabels());
  ASSERT_EQ(labels.size(), 1u);
  EXPECT_TRUE(labels[0] == expected);
}

TEST_P(RevisionStoreConformance, ANewStoreIsEmpty) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto pending, store().PendingBatches());
  EXPECT_TRUE(pending.empty());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto revisions, store().ListRevisions(Revision(100), 100));
  EXPECT_TRUE(revisions.empty());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, store().ListAudit(INT64_MAX, 100));
  EXPECT_TRUE(audit.empty());
}

// ---- Identity ----------------------------------------------------------------------------------

TEST_P(RevisionStoreConformance, TheIdentityIsWrittenOnceAndKept) {
  const StoreIdentity identity = random_.Identity();
  ASSERT_THAT(store().Initialize(identity), IsOk());
  Reopen();
  ASSERT_TRUE(store().identity().has_value());
  EXPECT_TRUE(*store().identity() == identity);
}

TEST_P(RevisionStoreConformance, ASecondIdentityIsRefused) {
  StoreIdentity first = random_.Identity();
  first.model_fingerprint = "abc";
  ASSERT_THAT(store().Initialize(first), IsOk());
  EXPECT_THAT(store().Initialize(random_.Identity()),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("abc")));
  EXPECT_TRUE(*store().identity() == first);
}

// ---- Ledger ------------------------------------------------------------------------------------

TEST_P(RevisionStoreConformance, AnAppendedBatchIsReadBack) {
  const LedgerEntry entry = Append("s", 0);
  AMEND_ASSERT_OK_AND_ASSIGN(const LedgerEntry found, store().GetLedger({"s", 0}));
  EXPECT_TRUE(found == entry);
}

TEST_P(RevisionStoreConformance, SequencesGrowByOneOverAllSessionsAndReopening) {
  EXPECT_EQ(Append("a", 0).sequence, 1);
  EXPECT_EQ(Append("b", 0).sequence, 2);
  Reopen();
  EXPECT_EQ(Append("a", 1).sequence, 3);
}

TEST_P(RevisionStoreConformance, AnUnknownBatchIsNotFoundNamingSessionAndOffset) {
  EXPECT_THAT(store().GetLedger({"nobody", 7}),
              StatusIs(StatusCode::kNotFound, AllOf(HasSubstr("\"nobody\""), HasSubstr("7"))));
}

TEST_P(RevisionStoreConformance, TheNextOffsetOfAnUnknownSessionIsZero) {
  Append("a", 0);
  EXPECT_EQ(store().NextOffset("b").value(), 0);
}

TEST_P(RevisionStoreConformance, TheNextOffsetFollowsTheLastBatch) {
  Append("a", 0);
  Append("a", 1);
  EXPECT_EQ(store().NextOffset("a").value(), 2);
  Reopen();
  EXPECT_EQ(store().NextOffset("a").value(), 2);
}

TEST_P(RevisionStoreConformance, ALowerOffsetAlreadyExistsAndChangesNothing) {
  const LedgerEntry first = Append("s", 0);
  EXPECT_THAT(store().AppendLedger(Entry("s", 0)), StatusIs(StatusCode::kAlreadyExists));
  AMEND_ASSERT_OK_AND_ASSIGN(const LedgerEntry found, store().GetLedger({"s", 0}));
  EXPECT_TRUE(found == first);
}

TEST_P(RevisionStoreConformance, AHigherOffsetIsOutOfRangeNamingBoth) {
  Append("s", 0);
  EXPECT_THAT(store().AppendLedger(Entry("s", 5)),
              StatusIs(StatusCode::kOutOfRange, AllOf(HasSubstr("offset 5"), HasSubstr("is 1"))));
  EXPECT_EQ(store().NextOffset("s").value(), 1);
}

TEST_P(RevisionStoreConformance, AFailedBatchTakesItsOffsetButIsNotPending) {
  LedgerEntry entry = Entry("s", 0);
  entry.state = BatchState::kFailed;
  ASSERT_THAT(store().AppendLedger(entry), IsOk());
  EXPECT_EQ(store().NextOffset("s").value(), 1);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto pending, store().PendingBatches());
  EXPECT_TRUE(pending.empty());
}

TEST_P(RevisionStoreConformance, ABatchIsNotAppendedInAStateThatNeedsASolver) {
  LedgerEntry entry = Entry("s", 0);
  entry.state = BatchState::kLive;
  EXPECT_THAT(store().AppendLedger(entry), StatusIs(StatusCode::kInvalidArgument));
}

TEST_P(RevisionStoreConformance, AListHasTheBatchesOfOneSessionInOffsetOrder) {
  std::vector<LedgerEntry> expected;
  for (int64_t i = 0; i < 5; ++i) {
    expected.push_back(Append("s", i));
    Append("other", i);
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const auto all, store().ListLedger("s", 0, 100));
  EXPECT_TRUE(all == expected);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto middle, store().ListLedger("s", 2, 2));
  ASSERT_EQ(middle.size(), 2u);
  EXPECT_TRUE(middle[0] == expected[2] && middle[1] == expected[3]);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto none, store().ListLedger("s", 5, 10));
  EXPECT_TRUE(none.empty());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto limited, store().ListLedger("s", 0, 0));
  EXPECT_TRUE(limited.empty());
}

TEST_P(RevisionStoreConformance, SessionsWithOddBytesAndCommonBeginningsAreKeptApart) {
  const std::vector<std::string> sessions = {"",
                                             "a",
                                             "ab",
                                             std::string("a\0", 2),
                                             std::string("a\0\x01", 3),
                                             std::string("a\0\xff", 3),
                                             "a\xff",
                                             std::string(1, '\0'),
                                             "\xff\xff\xff\xff\xff\xff\xff\xff\xff"};
  for (size_t i = 0; i < sessions.size(); ++i) {
    for (size_t j = 0; j <= i; ++j) Append(sessions[i], static_cast<int64_t>(j));
  }
  Reopen();
  for (size_t i = 0; i < sessions.size(); ++i) {
    EXPECT_EQ(store().NextOffset(sessions[i]).value(), static_cast<int64_t>(i) + 1);
    AMEND_ASSERT_OK_AND_ASSIGN(const auto entries, store().ListLedger(sessions[i], 0, 100));
    ASSERT_EQ(entries.size(), i + 1);
    for (const LedgerEntry& entry : entries) EXPECT_EQ(entry.key.session, sessions[i]);
  }
}

TEST_P(RevisionStoreConformance, PendingBatchesComeInOrderOfArrivalOverAllSessions) {
  const std::vector<LedgerEntry> expected = {Append("z", 0), Append("a", 0), Append("z", 1),
                                             Append("m", 0)};
  AMEND_ASSERT_OK_AND_ASSIGN(const auto pending, store().PendingBatches());
  EXPECT_TRUE(pending == expected);
  Reopen();
  AMEND_ASSERT_OK_AND_ASSIGN(const auto again, store().PendingBatches());
  EXPECT_TRUE(again == expected);
}

TEST_P(RevisionStoreConformance, AFinishedBatchIsNoLongerPending) {
  LedgerEntry first = Append("s", 0);
  const LedgerEntry second = Append("s", 1);
  StoreStep step;
  first.state = BatchState::kRejected;
  step.ledger = first;
  ASSERT_THAT(store().Commit(step), IsOk());
  for (int round = 0; round < 2; ++round) {
    AMEND_ASSERT_OK_AND_ASSIGN(const auto pending, store().PendingBatches());
    ASSERT_EQ(pending.size(), 1u);
    EXPECT_TRUE(pending[0] == second);
    Reopen();
  }
}

TEST_P(RevisionStoreConformance, ALedgerUpdateKeepsTheSequenceOfTheAppend) {
  LedgerEntry entry = Append("s", 0);
  const int64_t sequence = entry.sequence;
  entry.sequence = 999;
  entry.state = BatchState::kFailed;
  StoreStep step;
  step.ledger = entry;
  ASSERT_THAT(store().Commit(step), IsOk());
  EXPECT_EQ(store().GetLedger({"s", 0})->sequence, sequence);
}

TEST_P(RevisionStoreConformance, AFinishedBatchDoesNotBecomeDurableAgain) {
  LedgerEntry entry = Append("s", 0);
  StoreStep step;
  step.ledger = entry;
  step.ledger->state = BatchState::kFailed;
  ASSERT_THAT(store().Commit(step), IsOk());
  step.ledger->state = BatchState::kDurable;
  EXPECT_THAT(store().Commit(step), StatusIs(StatusCode::kInvalidArgument));
}

TEST_P(RevisionStoreConformance, ALedgerUpdateOfAnUnknownBatchIsNotFound) {
  StoreStep step = RevisionStep();
  step.ledger = Entry("nobody", 3);
  EXPECT_THAT(store().Commit(step), StatusIs(StatusCode::kNotFound, HasSubstr("\"nobody\"")));
  EXPECT_EQ(store().LatestRevision(), kBaseRevision);
}

// ---- Revisions ---------------------------------------------------------------------------------

TEST_P(RevisionStoreConformance, ARevisionIsReadBackWithItsFactors) {
  for (int i = 0; i < 10; ++i) {
    const StoreStep step = RevisionStep();
    ASSERT_THAT(store().Commit(step), IsOk());
    if (i % 2 == 0) Reopen();
    AMEND_ASSERT_OK_AND_ASSIGN(const auto record, store().GetRevision(step.revision->revision));
    EXPECT_TRUE(record == *step.revision);
    AMEND_ASSERT_OK_AND_ASSIGN(const auto factors, store().ReadFactors(step.revision->revision));
    EXPECT_TRUE(factors == *step.factors);
  }
}

TEST_P(RevisionStoreConformance, TheLatestRevisionGrowsByOne) {
  for (int64_t i = 1; i <= 3; ++i) {
    ASSERT_THAT(store().Commit(RevisionStep()), IsOk());
    EXPECT_EQ(store().LatestRevision(), Revision(i));
  }
  Reopen();
  EXPECT_EQ(store().LatestRevision(), Revision(3));
}

TEST_P(RevisionStoreConformance, ARevisionThatIsNotNextIsRefusedNamingBoth) {
  ASSERT_THAT(store().Commit(RevisionStep()), IsOk());
  for (const int64_t number : {0, 1, 3}) {
    StoreStep step = RevisionStep();
    step.revision->revision = Revision(number);
    EXPECT_THAT(store().Commit(step),
                StatusIs(StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("revision " + std::to_string(number)),
                               HasSubstr("latest revision 1"))));
  }
  EXPECT_EQ(store().LatestRevision(), Revision(1));
}

TEST_P(RevisionStoreConformance, AMissingRevisionIsNotFoundNamingItAndTheLatest) {
  ASSERT_THAT(store().Commit(RevisionStep()), IsOk());
  for (const int64_t number : {0, -1, 2}) {
    EXPECT_THAT(store().GetRevision(Revision(number)),
                StatusIs(StatusCode::kNotFound, AllOf(HasSubstr(std::to_string(number)),
                                                      HasSubstr("latest revision is 1"))));
  }
}

TEST_P(RevisionStoreConformance, RevisionsAreListedNewestFirstBelowABound) {
  std::vector<RevisionRecord> newest_first;
  for (int i = 0; i < 5; ++i) {
    const StoreStep step = RevisionStep();
    ASSERT_THAT(store().Commit(step), IsOk());
    newest_first.insert(newest_first.begin(), *step.revision);
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const auto all, store().ListRevisions(Revision(INT64_MAX), 100));
  EXPECT_TRUE(all == newest_first);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto some, store().ListRevisions(Revision(4), 2));
  ASSERT_EQ(some.size(), 2u);
  EXPECT_EQ(some[0].revision, Revision(3));
  EXPECT_EQ(some[1].revision, Revision(2));
  for (const int64_t before : {1, 0, -5}) {
    AMEND_ASSERT_OK_AND_ASSIGN(const auto none, store().ListRevisions(Revision(before), 10));
    EXPECT_TRUE(none.empty());
  }
}

TEST_P(RevisionStoreConformance, ARejectedRevisionHasARecordButNoFactors) {
  ASSERT_THAT(store().Commit(RevisionStep(RevisionState::kRejected)), IsOk());
  EXPECT_THAT(store().GetRevision(Revision(1)), IsOk());
  EXPECT_THAT(store().ReadFactors(Revision(1)), StatusIs(StatusCode::kNotFound, HasSubstr("1")));
}

TEST_P(RevisionStoreConformance, ARevisionThatWithdrawsEditsIsReadBackAndHasNoFactors) {
  ASSERT_THAT(store().Commit(RevisionStep()), IsOk());
  StoreStep step;
  step.revision = random_.Withdrawal(Revision(2), Revision(1), RevisionState::kValidated);
  step.label = LabelMove{"live", Revision(2), 0};
  step.audit = random_.Audit();
  ASSERT_THAT(store().Commit(step), IsOk());
  Reopen();
  AMEND_ASSERT_OK_AND_ASSIGN(const auto record, store().GetRevision(Revision(2)));
  EXPECT_TRUE(record == *step.revision);
  EXPECT_TRUE(record.withdraws());
  EXPECT_THAT(store().ReadFactors(Revision(2)), StatusIs(StatusCode::kNotFound, HasSubstr("2")));
  EXPECT_EQ(store().GetLabel("live")->revision, Revision(2));
}

TEST_P(RevisionStoreConformance, ARevisionThatWithdrawsEditsAndComesWithFactorsIsRefused) {
  ASSERT_THAT(store().Commit(RevisionStep()), IsOk());
  StoreStep step;
  step.revision = random_.Withdrawal(Revision(2), Revision(1), RevisionState::kValidated);
  step.factors = random_.Factors();
  EXPECT_THAT(store().Commit(step),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("withdraws edits")));
  EXPECT_EQ(store().LatestRevision(), Revision(1));
}

TEST_P(RevisionStoreConformance, RevisionZeroAndUnknownOnesHaveNoFactors) {
  EXPECT_THAT(store().ReadFactors(kBaseRevision), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(store().ReadFactors(Revision(9)), StatusIs(StatusCode::kNotFound, HasSubstr("9")));
}

TEST_P(RevisionStoreConformance, FactorsOfNoLayerAreFactors) {
  StoreStep step = RevisionStep();
  step.factors->layers.clear();
  ASSERT_THAT(store().Commit(step), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto factors, store().ReadFactors(Revision(1)));
  EXPECT_THAT(factors.layers, IsEmpty());
}

// ---- Labels ------------------------------------------------------------------------------------

TEST_P(RevisionStoreConformance, AnUnknownLabelIsNotFoundNamingIt) {
  EXPECT_THAT(store().GetLabel("canary"), StatusIs(StatusCode::kNotFound, HasSubstr("\"canary\"")));
}

TEST_P(RevisionStoreConformance, TheGenerationOfALabelGrowsByOneWithEveryMove) {
  ASSERT_THAT(store().Commit(RevisionStep()), IsOk());
  ASSERT_THAT(store().Commit(MoveLabel("live", 1)), IsOk());
  ASSERT_THAT(store().Commit(MoveLabel("live", 0)), IsOk());
  ASSERT_THAT(store().Commit(MoveLabel("live", 0)), IsOk());
  Reopen();
  const LabelRecord expected{"live", kBaseRevision, 3};
  EXPECT_TRUE(store().GetLabel("live").value() == expected);
}

TEST_P(RevisionStoreConformance, ALabelMovesOnlyFromTheExpectedGeneration) {
  ASSERT_THAT(store().Commit(RevisionStep()), IsOk());
  ASSERT_THAT(store().Commit(MoveLabel("live", 1, 0)), IsOk());
  EXPECT_THAT(store().Commit(MoveLabel("live", 0, 7)),
              StatusIs(StatusCode::kAborted,
                       AllOf(HasSubstr("\"live\""), HasSubstr("generation 1"), HasSubstr("7"))));
  const LabelRecord expected{"live", Revision(1), 1};
  EXPECT_TRUE(store().GetLabel("live").value() == expected);
}

TEST_P(RevisionStoreConformance, ANewLabelStartsFromGenerationZero) {
  EXPECT_THAT(store().Commit(MoveLabel("canary", 0, 1)), StatusIs(StatusCode::kAborted));
  ASSERT_THAT(store().Commit(MoveLabel("canary", 0, 0)), IsOk());
  const LabelRecord expected{"canary", kBaseRevision, 1};
  EXPECT_TRUE(store().GetLabel("canary").value() == expected);
}

TEST_P(RevisionStoreConformance, LabelsAreListedByNameWithLiveAmongThem) {
  for (const char* name : {"zebra", "canary"}) {
    ASSERT_THAT(store().Commit(MoveLabel(name, 0)), IsOk());
  }
  std::vector<std::string> names;
  AMEND_ASSERT_OK_AND_ASSIGN(const auto labels, store().ListLabels());
  for (const LabelRecord& label : labels) names.push_back(label.name);
  EXPECT_THAT(names, testing::ElementsAre("canary", "live", "zebra"));
}

TEST_P(RevisionStoreConformance, ALabelDoesNotMoveToAnUnknownRevision) {
  EXPECT_THAT(store().Commit(MoveLabel("live", 3)),
              StatusIs(StatusCode::kNotFound, HasSubstr("revision 3")));
  EXPECT_THAT(store().Commit(MoveLabel("live", -3)), StatusIs(StatusCode::kNotFound));
}

TEST_P(RevisionStoreConformance, ALabelDoesNotMoveToARevisionThatIsNotValidated) {
  ASSERT_THAT(store().Commit(RevisionStep(RevisionState::kTemporary)), IsOk());
  ASSERT_THAT(store().Commit(RevisionStep(RevisionState::kRejected)), IsOk());
  EXPECT_THAT(store().Commit(MoveLabel("live", 1)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("revision 1")));
  EXPECT_THAT(store().Commit(MoveLabel("live", 2)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("revision 2")));
}

TEST_P(RevisionStoreConformance, OfManyWritersOneMovesALabelFromAGeneration) {
  std::vector<std::thread> threads;
  std::atomic<int> moved{0};
  std::atomic<int> aborted{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const absl::Status status = store().Commit(MoveLabel("live", 0, 0));
      if (status.ok()) ++moved;
      if (absl::IsAborted(status)) ++aborted;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(moved, 1);
  EXPECT_EQ(aborted, 7);
}

TEST_P(RevisionStoreConformance, ManyWritersGetSequencesWithoutGapsOrDoubles) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this, i] {
      for (int64_t offset = 0; offset < 10; ++offset) {
        LedgerEntry entry;
        entry.key = {std::to_string(i), offset};
        EXPECT_THAT(store().AppendLedger(entry), IsOk());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<int64_t> sequences;
  AMEND_ASSERT_OK_AND_ASSIGN(const auto pending, store().PendingBatches());
  for (const LedgerEntry& entry : pending) sequences.insert(entry.sequence);
  EXPECT_EQ(sequences.size(), 40u);
  EXPECT_EQ(*sequences.begin(), 1);
  EXPECT_EQ(*sequences.rbegin(), 40);
}

// ---- Steps and the audit trail -----------------------------------------------------------------

TEST_P(RevisionStoreConformance, AStepMakesAllItsPartsTrue) {
  LedgerEntry entry = Append("s", 0);
  StoreStep step = RevisionStep();
  entry.state = BatchState::kLive;
  entry.revision = Revision(1);
  step.ledger = entry;
  step.label = LabelMove{"live", Revision(1), 0};
  step.audit = random_.Audit();
  ASSERT_THAT(store().Commit(step), IsOk());
  Reopen();
  const LabelRecord label{"live", Revision(1), 1};
  EXPECT_EQ(store().LatestRevision(), Revision(1));
  EXPECT_TRUE(store().ReadFactors(Revision(1)).value() == *step.factors);
  EXPECT_TRUE(store().GetLedger({"s", 0}).value() == entry);
  EXPECT_TRUE(store().GetLabel("live").value() == label);
  step.audit->sequence = 1;
  EXPECT_TRUE(store().ListAudit(INT64_MAX, 1).value() == std::vector<AuditRecord>{*step.audit});
}

TEST_P(RevisionStoreConformance, AStepThatDoesNotFitChangesNothing) {
  const LedgerEntry entry = Append("s", 0);
  StoreStep step = RevisionStep();
  step.ledger = entry;
  step.ledger->state = BatchState::kLive;
  step.audit = random_.Audit();
  step.label = LabelMove{"live", Revision(1), 5};
  ASSERT_THAT(store().Commit(step), StatusIs(StatusCode::kAborted));
  EXPECT_EQ(store().LatestRevision(), kBaseRevision);
  EXPECT_THAT(store().GetRevision(Revision(1)), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(store().ReadFactors(Revision(1)), StatusIs(StatusCode::kNotFound));
  EXPECT_TRUE(store().GetLedger({"s", 0}).value() == entry);
  EXPECT_TRUE(store().ListAudit(INT64_MAX, 10)->empty());
  EXPECT_EQ(store().GetLabel("live")->generation, 0);
  EXPECT_EQ(store().PendingBatches()->size(), 1u);
}

TEST_P(RevisionStoreConformance, AnEmptyStepIsRefused) {
  EXPECT_THAT(store().Commit(StoreStep()), StatusIs(StatusCode::kInvalidArgument));
}

TEST_P(RevisionStoreConformance, TheAuditTrailIsNewestFirstAndKept) {
  std::vector<AuditRecord> newest_first;
  for (int i = 0; i < 4; ++i) {
    StoreStep step;
    step.audit = random_.Audit();
    ASSERT_THAT(store().Commit(step), IsOk());
    step.audit->sequence = i + 1;
    newest_first.insert(newest_first.begin(), *step.audit);
    if (i == 1) Reopen();
  }
  EXPECT_TRUE(store().ListAudit(INT64_MAX, 100).value() == newest_first);
  const std::vector<AuditRecord> page(newest_first.begin() + 1, newest_first.begin() + 3);
  EXPECT_TRUE(store().ListAudit(4, 2).value() == page);
  for (const int64_t before : {1, 0, -1}) EXPECT_THAT(*store().ListAudit(before, 2), IsEmpty());
}

// ---- Labels that go --------------------------------------------------------------------------

TEST_P(RevisionStoreConformance, ADeletedLabelIsGoneForGood) {
  ASSERT_THAT(store().Commit(MoveLabel("canary", 0)), IsOk());
  ASSERT_THAT(store().Commit(DeleteLabel("canary", 1)), IsOk());
  Reopen();
  EXPECT_THAT(store().GetLabel("canary"), StatusIs(StatusCode::kNotFound));
  EXPECT_EQ(store().ListLabels()->size(), 1u);
  EXPECT_THAT(store().Commit(DeleteLabel("canary")), StatusIs(StatusCode::kNotFound));
}

TEST_P(RevisionStoreConformance, ALabelIsDeletedOnlyFromTheExpectedGeneration) {
  ASSERT_THAT(store().Commit(MoveLabel("canary", 0)), IsOk());
  EXPECT_THAT(store().Commit(DeleteLabel("canary", 4)),
              StatusIs(StatusCode::kAborted, HasSubstr("generation 1")));
  EXPECT_THAT(store().GetLabel("canary"), IsOk());
}

TEST_P(RevisionStoreConformance, TheLiveLabelIsNeverDeleted) {
  EXPECT_THAT(store().Commit(DeleteLabel("live")), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(store().GetLabel("live"), IsOk());
}

// Else a compare-and-set could mistake the new label for the old one.
TEST_P(RevisionStoreConformance, ALabelThatIsMadeAgainNeverHasAGenerationThatItHad) {
  for (int i = 0; i < 3; ++i) ASSERT_THAT(store().Commit(MoveLabel("canary", 0)), IsOk());
  ASSERT_THAT(store().Commit(DeleteLabel("canary")), IsOk());
  Reopen();
  ASSERT_THAT(store().Commit(MoveLabel("canary", 0, 0)), IsOk());
  EXPECT_EQ(store().GetLabel("canary")->generation, 4);
  ASSERT_THAT(store().Commit(MoveLabel("live", 0)), IsOk());
  EXPECT_EQ(store().GetLabel("live")->generation, 1);
}

// ---- Marks -------------------------------------------------------------------------------------

TEST_P(RevisionStoreConformance, MarksAreReadBackAndChangeNothingElse) {
  const StoreStep made = RevisionStep();
  ASSERT_THAT(store().Commit(made), IsOk());
  RevisionRecord expected = *made.revision;
  for (const RevisionMarks& marks :
       {RevisionMarks{true, 0, 0}, RevisionMarks{false, 77, 0}, RevisionMarks{}}) {
    ASSERT_THAT(store().Commit(Mark(1, marks)), IsOk());
    Reopen();
    expected.marks = marks;
    EXPECT_TRUE(store().GetRevision(Revision(1)).value() == expected);
    EXPECT_TRUE(store().ListRevisions(Revision(2), 1).value()[0] == expected);
    EXPECT_TRUE(store().ReadFactors(Revision(1)).value() == *made.factors);
  }
}

TEST_P(RevisionStoreConformance, APurgedRevisionKeepsItsRecordAndLosesItsFactors) {
  const StoreStep made = RevisionStep();
  const StoreStep other = [&] {
    EXPECT_THAT(store().Commit(made), IsOk());
    return RevisionStep();
  }();
  ASSERT_THAT(store().Commit(other), IsOk());
  ASSERT_THAT(store().Commit(Mark(1, {false, 7, 0})), IsOk());
  StoreStep purge = Mark(1, {false, 7, 9});
  purge.audit = random_.Audit();
  ASSERT_THAT(store().Commit(purge), IsOk());
  Reopen();
  RevisionRecord expected = *made.revision;
  expected.marks = {false, 7, 9};
  EXPECT_TRUE(store().GetRevision(Revision(1)).value() == expected);
  EXPECT_THAT(store().ReadFactors(Revision(1)), StatusIs(StatusCode::kNotFound));
  EXPECT_TRUE(store().ReadFactors(Revision(2)).value() == *other.factors);
  EXPECT_EQ(store().ListAudit(INT64_MAX, 10)->size(), 1u);
}

TEST_P(RevisionStoreConformance, NothingIsBuiltOnAPurgedRevision) {
  ASSERT_THAT(store().Commit(RevisionStep()), IsOk());
  ASSERT_THAT(store().Commit(Mark(1, {false, 7, 0})), IsOk());
  ASSERT_THAT(store().Commit(Mark(1, {false, 7, 9})), IsOk());
  EXPECT_THAT(store().Commit(RevisionStep()),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("purged")));
  EXPECT_EQ(store().LatestRevision(), Revision(1));
}

TEST_P(RevisionStoreConformance, ALabelledRevisionIsNotDeletedAndADeletedOneNotLabelled) {
  ASSERT_THAT(store().Commit(RevisionStep()), IsOk());
  ASSERT_THAT(store().Commit(MoveLabel("canary", 1)), IsOk());
  EXPECT_THAT(store().Commit(Mark(1, {false, 7, 0})),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("\"canary\"")));
  ASSERT_THAT(store().Commit(MoveLabel("canary", 0)), IsOk());
  ASSERT_THAT(store().Commit(Mark(1, {false, 7, 0})), IsOk());
  EXPECT_THAT(store().Commit(MoveLabel("canary", 1)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("deleted")));
  EXPECT_EQ(store().GetLabel("canary")->revision, kBaseRevision);
}

TEST_P(RevisionStoreConformance, MarksThatDoNotFitChangeNothing) {
  ASSERT_THAT(store().Commit(RevisionStep()), IsOk());
  const RevisionRecord before = *store().GetRevision(Revision(1));
  EXPECT_THAT(store().Commit(Mark(1, {false, 7, 9})), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(store().Commit(Mark(2, {true, 0, 0})), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(store().Commit(Mark(0, {true, 0, 0})), StatusIs(StatusCode::kNotFound));
  EXPECT_TRUE(store().GetRevision(Revision(1)).value() == before);
  EXPECT_THAT(store().ReadFactors(Revision(1)), IsOk());
}

TEST_P(RevisionStoreConformance, SpaceIsReclaimedAndWhatIsNotPurgedStays) {
  std::vector<StoreStep> made;
  for (int i = 1; i <= 4; ++i) {
    made.push_back(RevisionStep());
    ASSERT_THAT(store().Commit(made.back()), IsOk());
  }
  for (const int64_t revision : {4, 2}) {
    ASSERT_THAT(store().Commit(Mark(revision, {false, 7, 0})), IsOk());
    ASSERT_THAT(store().Commit(Mark(revision, {false, 7, 9})), IsOk());
  }
  std::atomic<bool> cancelled{false};
  ASSERT_THAT(store().ReclaimSpace(&cancelled), IsOk());
  for (const int64_t revision : {1, 3}) {
    EXPECT_TRUE(store().ReadFactors(Revision(revision)).value() == *made[revision - 1].factors);
  }
  EXPECT_THAT(store().ReadFactors(Revision(4)), StatusIs(StatusCode::kNotFound));
}

// ---- Verification ------------------------------------------------------------------------------

TEST_P(RevisionStoreConformance, VerifyCountsAndFindsNothingInAnIntactStore) {
  ASSERT_THAT(store().Initialize(random_.Identity()), IsOk());
  Append("s", 0);
  StoreStep step = RevisionStep();
  step.label = LabelMove{"live", Revision(1), std::nullopt};
  step.audit = random_.Audit();
  ASSERT_THAT(store().Commit(step), IsOk());
  ASSERT_THAT(store().Commit(RevisionStep(RevisionState::kRejected)), IsOk());
  Reopen();
  AMEND_ASSERT_OK_AND_ASSIGN(const StoreVerification found, store().Verify(nullptr));
  EXPECT_EQ(found.damage_count, 0) << found.damages[0].key << ": " << found.damages[0].description;
  EXPECT_GE(found.records, 5);
  EXPECT_GE(found.blobs, static_cast<int64_t>(step.factors->layers.size()));
  EXPECT_EQ(found.live, Revision(1));
  EXPECT_EQ(found.latest, Revision(2));
}

TEST_P(RevisionStoreConformance, TheDigestIsOfTheContent) {
  AMEND_ASSERT_OK_AND_ASSIGN(const StoreVerification before, store().Verify(nullptr));
  Reopen();
  AMEND_ASSERT_OK_AND_ASSIGN(const StoreVerification again, store().Verify(nullptr));
  Append("s", 0);
  AMEND_ASSERT_OK_AND_ASSIGN(const StoreVerification after, store().Verify(nullptr));
  EXPECT_EQ(before.digest.size(), 64u);
  EXPECT_EQ(again.digest, before.digest);
  EXPECT_NE(after.digest, before.digest);
}

}  // namespace amend

#endif  // AMEND_STORAGE_TESTING_REVISION_STORE_CONFORMANCE_H_
