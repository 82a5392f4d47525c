#include "server/coordinator.h"

#include <atomic>
#include <memory>

#include "absl/synchronization/notification.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/testing/edit_harness.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr PromotionPolicy kStageOnly = PromotionPolicy::kStageOnly;

PromoteCommand PromoteTo(int64_t revision) {
  return {"live", Revision(revision), std::nullopt, "", "test"};
}

RollbackCommand RollbackTo(int64_t revision) {
  return {"live", Revision(revision), std::nullopt, "because", "test"};
}

class CoordinatorTest : public testing::Test {
 protected:
  absl::StatusOr<LabelMoved> Promote(const PromoteCommand& command) {
    absl::StatusOr<LabelMoved> result;
    absl::Notification done;
    h_.coordinator->Promote(command, [&](absl::StatusOr<LabelMoved> moved) {
      result = std::move(moved);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }
  absl::StatusOr<LabelMoved> Rollback(const RollbackCommand& command) {
    absl::StatusOr<LabelMoved> result;
    absl::Notification done;
    h_.coordinator->Rollback(command, [&](absl::StatusOr<LabelMoved> moved) {
      result = std::move(moved);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }

  absl::StatusOr<RevisionRecord> Mark(MarkCommand::Verb verb, int64_t revision) {
    absl::StatusOr<RevisionRecord> result;
    absl::Notification done;
    h_.coordinator->Mark({verb, Revision(revision), "because", "test"},
                         [&](absl::StatusOr<RevisionRecord> record) {
                           result = std::move(record);
                           done.Notify();
                         });
    done.WaitForNotification();
    return result;
  }
  absl::Status MarkInStore(int64_t revision, RevisionMarks marks) {
    StoreStep step;
    step.marks = MarkChange{Revision(revision), marks};
    return h_.store.Commit(step);
  }

  EditHarness h_;
  std::atomic<bool> stop_called_{false};
};

TEST_F(CoordinatorTest, AValidatedBatchGoesThroughAllStagesAndBecomesLive) {
  h_.Start();
  const auto recorder = h_.Submit("s", 0, {MakeEdit("Rome")});
  const v1::EditBatchStatus last = recorder->Last();
  EXPECT_THAT(recorder->Stages(),
              ElementsAre(v1::ACCEPTED, v1::DURABLE, v1::SOLVING, v1::STAGED, v1::LIVE));
  EXPECT_EQ(last.revision(), 1);
  ASSERT_EQ(last.edit_results_size(), 1);
  EXPECT_TRUE(last.edit_results(0).passed());
  EXPECT_EQ(last.edit_results(0).client_edit_id(), "id of Rome");
  EXPECT_EQ(h_.Live(), Revision(1));
}

TEST_F(CoordinatorTest, RevisionVerdictLedgerLabelAndAuditAreOneCommit) {
  h_.Start();
  ASSERT_EQ(h_.Run("s", 0, "Rome").stage(), v1::LIVE);
  // One write is the ledger's, the other one is the whole step.
  EXPECT_EQ(h_.store.write_count(), 2);
  AMEND_ASSERT_OK_AND_ASSIGN(const RevisionRecord record, h_.store.GetRevision(Revision(1)));
  EXPECT_EQ(record.state, RevisionState::kValidated);
  EXPECT_EQ(record.line_edit_count, 1);
  AMEND_ASSERT_OK_AND_ASSIGN(const LedgerEntry entry, h_.store.GetLedger({"s", 0}));
  EXPECT_EQ(entry.state, BatchState::kLive);
  AMEND_ASSERT_OK_AND_ASSIGN(const LabelRecord live, h_.store.GetLabel("live"));
  EXPECT_EQ(live.revision, Revision(1));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, h_.store.ListAudit(INT64_MAX, 10));
  ASSERT_EQ(audit.size(), 1u);
  EXPECT_EQ(audit[0].verb, "promote");
}

TEST_F(CoordinatorTest, RevisionVerdictAndAuditSayWhoSentTheBatch) {
  h_.Start();
  h_.actor = "editor";
  EXPECT_EQ(h_.Run("s", 0, "Rome").actor(), "editor");
  ASSERT_EQ(h_.Run("s", 1, "bad").stage(), v1::REJECTED);
  for (const int64_t revision : {1, 2}) {
    EXPECT_EQ(h_.store.GetRevision(Revision(revision))->actor, "editor");
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, h_.store.ListAudit(INT64_MAX, 10));
  ASSERT_EQ(audit.size(), 2u);
  EXPECT_EQ(audit[0].actor, "editor");
  EXPECT_EQ(audit[1].actor, "editor");
}

TEST_F(CoordinatorTest, WhereNobodyWasAskedTheVerdictIsTheCoordinators) {
  h_.Start();
  EXPECT_EQ(h_.Run("s", 0, "Rome").actor(), "");
  EXPECT_EQ(h_.store.GetRevision(Revision(1))->actor, "");
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, h_.store.ListAudit(INT64_MAX, 10));
  EXPECT_EQ(audit.at(0).actor, "coordinator");
}

TEST_F(CoordinatorTest, ConsecutiveBatchesBuildOnEachOther) {
  h_.Start();
  h_.Run("a", 0, "Rome");
  h_.Run("b", 0, "Paris");
  EXPECT_THAT(h_.engine.solved_on(), ElementsAre(Revision(0), Revision(1)));
  AMEND_ASSERT_OK_AND_ASSIGN(const RevisionRecord record, h_.store.GetRevision(Revision(2)));
  EXPECT_EQ(record.parent, Revision(1));
  EXPECT_EQ(record.line_edit_count, 2);
}

TEST_F(CoordinatorTest, EditsThatShareAKeyAreNamedAndRecorded) {
  h_.Start();
  h_.Submit("s", 0, {MakeEdit("Rome", "a"), MakeEdit("Oslo", "b")})->Last();
  Edit other = MakeEdit("Bonn", "b");
  other.prompt = "Another prompt of b";
  const v1::EditBatchStatus last =
      h_.Submit("s", 1, {MakeEdit("Paris", "b"), MakeEdit("Kiel", "c"), other})->Last();
  ASSERT_EQ(last.edit_results_size(), 3);
  // The third of the same batch, then the second of revision 1.
  ASSERT_EQ(last.edit_results(0).overlaps_size(), 2);
  EXPECT_EQ(last.edit_results(0).overlaps(0).revision(), 2);
  EXPECT_EQ(last.edit_results(0).overlaps(0).edit_index(), 2);
  EXPECT_FALSE(last.edit_results(0).overlaps(0).same_prompt());
  EXPECT_EQ(last.edit_results(0).overlaps(1).revision(), 1);
  EXPECT_EQ(last.edit_results(0).overlaps(1).edit_index(), 1);
  EXPECT_EQ(last.edit_results(0).overlaps(1).activation(), 0.97);
  EXPECT_TRUE(last.edit_results(0).overlaps(1).same_prompt());
  EXPECT_EQ(last.edit_results(1).overlaps_size(), 0);
  EXPECT_FALSE(last.edit_results(2).overlaps(1).same_prompt());
  AMEND_ASSERT_OK_AND_ASSIGN(const LedgerEntry entry, h_.store.GetLedger({"s", 1}));
  EXPECT_EQ(entry.verdicts[0].overlaps.size(), 2u);
}

TEST_F(CoordinatorTest, ARejectedBatchLeavesServingAloneAndTheNextBuildsOnTheLastValidated) {
  h_.Start();
  h_.Run("s", 0, "Rome");
  const v1::EditBatchStatus rejected = h_.Run("s", 1, "bad");
  EXPECT_EQ(rejected.stage(), v1::REJECTED);
  EXPECT_EQ(rejected.revision(), 2);
  EXPECT_THAT(rejected.gate_report().failures(), ElementsAre("reliability 0.10 is below 0.90"));
  EXPECT_EQ(h_.Live(), Revision(1));
  EXPECT_EQ(h_.Run("s", 2, "Paris").revision(), 3);
  AMEND_ASSERT_OK_AND_ASSIGN(const RevisionRecord record, h_.store.GetRevision(Revision(3)));
  EXPECT_EQ(record.parent, Revision(1));
}

TEST_F(CoordinatorTest, ABatchThatBreaksEarlierEditsIsRejectedNamingThem) {
  h_.thresholds.retention = 0.9;
  h_.Start();
  h_.Submit("s", 0, {MakeEdit("Rome", "a"), MakeEdit("Oslo", "b")})->Last();
  const v1::EditBatchStatus rejected = h_.Submit("s", 1, {MakeEdit("break", "c")})->Last();
  EXPECT_EQ(rejected.stage(), v1::REJECTED);
  EXPECT_THAT(rejected.gate_report().failures(), ElementsAre("retention 0.00 is below 0.90"));
  EXPECT_EQ(rejected.gate_report().retained_edits(), 2);
  ASSERT_EQ(rejected.gate_report().broken_edits_size(), 2);
  EXPECT_EQ(rejected.gate_report().broken_edits(1).revision(), 1);
  EXPECT_EQ(rejected.gate_report().broken_edits(1).edit_index(), 1);
  EXPECT_EQ(h_.Live(), Revision(1));
}

TEST_F(CoordinatorTest, AnEditThatSupersedesTheOnlyEarlierOneBreaksNothing) {
  h_.thresholds.retention = 0.9;
  h_.Start();
  h_.Submit("s", 0, {MakeEdit("Rome", "a")})->Last();
  EXPECT_EQ(h_.Submit("s", 1, {MakeEdit("break", "a")})->Last().stage(), v1::LIVE);
}

TEST_F(CoordinatorTest, DroppedEditsAreRecordedAndNoPartOfTheRevision) {
  h_.failure = FailurePolicy::kDropFailing;
  h_.Start();
  const v1::EditBatchStatus last =
      h_.Submit("s", 0, {MakeEdit("bad", "a"), MakeEdit("Rome", "b"), MakeEdit("Oslo", "c")})
          ->Last();
  EXPECT_EQ(last.stage(), v1::LIVE);
  ASSERT_EQ(last.edit_results_size(), 3);
  EXPECT_TRUE(last.edit_results(0).dropped());
  EXPECT_EQ(last.edit_results(0).reliability(), 0.1);
  EXPECT_EQ(last.edit_results(0).client_edit_id(), "id of bad");
  EXPECT_FALSE(last.edit_results(2).dropped());
  AMEND_ASSERT_OK_AND_ASSIGN(const RevisionRecord record, h_.store.GetRevision(Revision(1)));
  EXPECT_EQ(record.edit_count, 2);
  EXPECT_EQ(record.line_edit_count, 2);
  AMEND_ASSERT_OK_AND_ASSIGN(const LedgerEntry entry, h_.store.GetLedger({"s", 0}));
  EXPECT_EQ(entry.edits.size(), 3u);
  EXPECT_EQ(entry.failure, FailurePolicy::kDropFailing);
  // An edit is named by its place in the revision: this one shares its key with the second one
  // left.
  const v1::EditBatchStatus next = h_.Submit("s", 1, {MakeEdit("Paris", "c")})->Last();
  ASSERT_EQ(next.edit_results(0).overlaps_size(), 1);
  EXPECT_EQ(next.edit_results(0).overlaps(0).edit_index(), 1);
  EXPECT_TRUE(next.edit_results(0).overlaps(0).same_prompt());
  EXPECT_EQ(next.edit_results(0).overlaps(0).revision(), 1);
}

TEST_F(CoordinatorTest, ABatchOfWhichEveryEditIsDroppedIsRejected) {
  h_.failure = FailurePolicy::kDropFailing;
  h_.Start();
  const v1::EditBatchStatus last =
      h_.Submit("s", 0, {MakeEdit("bad", "a"), MakeEdit("bad", "b")})->Last();
  EXPECT_EQ(last.stage(), v1::REJECTED);
  EXPECT_EQ(last.edit_results_size(), 2);
  EXPECT_EQ(h_.Live(), kBaseRevision);
  AMEND_ASSERT_OK_AND_ASSIGN(const RevisionRecord record, h_.store.GetRevision(Revision(1)));
  EXPECT_EQ(record.state, RevisionState::kRejected);
  EXPECT_EQ(record.edit_count, 2);
}

TEST_F(CoordinatorTest, ABatchThatDivergesFailsAndUsesNoRevision) {
  h_.Start();
  const v1::EditBatchStatus failed = h_.Run("s", 0, "diverge");
  EXPECT_EQ(failed.stage(), v1::FAILED);
  EXPECT_EQ(failed.revision(), 0);
  EXPECT_EQ(h_.store.LatestRevision(), kBaseRevision);
  AMEND_ASSERT_OK_AND_ASSIGN(const LedgerEntry entry, h_.store.GetLedger({"s", 0}));
  EXPECT_EQ(entry.state, BatchState::kFailed);
  EXPECT_EQ(entry.error_reason, "EDIT_DIVERGED");
  EXPECT_EQ(h_.Run("s", 1, "Rome").stage(), v1::LIVE);
}

TEST_F(CoordinatorTest, AResultThatIsNotFiniteIsRejected) {
  h_.Start();
  EXPECT_EQ(h_.Run("s", 0, "nan").stage(), v1::REJECTED);
  EXPECT_EQ(h_.Live(), kBaseRevision);
}

TEST_F(CoordinatorTest, StagedBatchesOfASessionBuildOnEachOtherAndDoNotServe) {
  h_.Start();
  EXPECT_EQ(h_.Run("s", 0, "Rome", kStageOnly).stage(), v1::VALIDATED);
  EXPECT_EQ(h_.Run("s", 1, "Paris", kStageOnly).revision(), 2);
  EXPECT_EQ(h_.Live(), kBaseRevision);
  AMEND_ASSERT_OK_AND_ASSIGN(const RevisionRecord record, h_.store.GetRevision(Revision(2)));
  EXPECT_EQ(record.parent, Revision(1));
}

TEST_F(CoordinatorTest, AnotherSessionDoesNotBuildOnWhatIsOnlyStaged) {
  h_.Start();
  h_.Run("s", 0, "Rome", kStageOnly);
  h_.Run("t", 0, "Paris", kStageOnly);
  EXPECT_EQ(h_.store.GetRevision(Revision(2))->parent, kBaseRevision);
}

TEST_F(CoordinatorTest, StagingBeginsAtLiveAgainOnceTheLabelWentElsewhere) {
  h_.Start();
  h_.Run("s", 0, "Rome", kStageOnly);
  ASSERT_EQ(h_.Run("t", 0, "Oslo").revision(), 2);
  h_.Run("s", 1, "Paris", kStageOnly);
  EXPECT_EQ(h_.store.GetRevision(Revision(3))->parent, Revision(2));
}

TEST_F(CoordinatorTest, PromotionOfAStagedRevisionServesItAndMakesItsBatchLive) {
  h_.Start();
  h_.Run("s", 0, "Rome", kStageOnly);
  AMEND_ASSERT_OK_AND_ASSIGN(const LabelMoved moved, Promote(PromoteTo(1)));
  EXPECT_EQ(moved.previous, kBaseRevision);
  EXPECT_EQ(moved.label.revision, Revision(1));
  EXPECT_EQ(h_.Live(), Revision(1));
  EXPECT_EQ(h_.store.GetLedger({"s", 0})->state, BatchState::kLive);
}

TEST_F(CoordinatorTest, AfterARollbackTheLineIsRebuiltFromTheStore) {
  h_.Start();
  h_.Run("s", 0, "Rome");
  h_.Run("s", 1, "Paris");
  ASSERT_THAT(Rollback(RollbackTo(1)), IsOk());
  EXPECT_EQ(h_.Live(), Revision(1));
  h_.Run("s", 2, "Oslo");
  EXPECT_THAT(h_.engine.line(), ElementsAre(Revision(1), Revision(3)));
  EXPECT_EQ(h_.store.GetRevision(Revision(3))->parent, Revision(1));
}

TEST_F(CoordinatorTest, ARollbackDuringAStepMakesTheBatchBeSolvedOnTheNewLive) {
  absl::StatusOr<LabelMoved> rolled_back = absl::UnknownError("not called");
  std::atomic<int> solves{0}, steps{0};
  h_.engine.on_step = [&](int step) {
    ++steps;
    // It does not wait for the step to end, which waits for it.
    if (step == 0 && ++solves == 3) rolled_back = Rollback(RollbackTo(1));
  };
  h_.Start();
  h_.Run("s", 0, "Rome");
  h_.Run("s", 1, "Paris");
  const v1::EditBatchStatus third = h_.Run("s", 2, "Oslo");
  EXPECT_THAT(rolled_back, IsOk());
  EXPECT_EQ(third.stage(), v1::LIVE);
  EXPECT_THAT(h_.engine.solved_on(),
              ElementsAre(Revision(0), Revision(1), Revision(2), Revision(1)));
  EXPECT_EQ(h_.store.GetRevision(Revision(3))->parent, Revision(1));
  // The attempt on the old parent ended with the step in which the label moved.
  EXPECT_EQ(steps, 3 * FakeEditEngine::kSteps + 1);
}

TEST_F(CoordinatorTest, AMoveOfTheLabelDuringTheGateMakesTheBatchStartAgain) {
  std::atomic<int> gates{0};
  h_.engine.on_gate = [&] {
    if (++gates == 2) h_.coordinator->Rollback(RollbackTo(0), [](absl::StatusOr<LabelMoved>) {});
  };
  h_.Start();
  h_.Run("s", 0, "Rome");
  EXPECT_EQ(h_.Run("s", 1, "Paris").stage(), v1::LIVE);
  EXPECT_EQ(h_.store.GetRevision(Revision(2))->parent, kBaseRevision);
}

TEST_F(CoordinatorTest, ABatchEndsEvenWhenTheLabelMovesUnderEveryAttempt) {
  int moves = 0;
  h_.engine.on_step = [&](int step) {
    if (step > 0 || h_.engine.solved_on().size() < 3) return;
    ++moves;
    if (moves % 2 == 1) {
      h_.coordinator->Rollback(RollbackTo(1), [](absl::StatusOr<LabelMoved>) {});
    } else {
      h_.coordinator->Promote(PromoteTo(2), [](absl::StatusOr<LabelMoved>) {});
    }
  };
  h_.Start();
  h_.Run("s", 0, "Rome");
  h_.Run("s", 1, "Paris");
  EXPECT_EQ(h_.Run("s", 2, "Oslo").stage(), v1::LIVE);
  EXPECT_EQ(moves, 4);
}

TEST_F(CoordinatorTest, OfTwoPromotionsWithTheSameEtagExactlyOneWins) {
  h_.Start();
  h_.Run("s", 0, "Rome", kStageOnly);
  h_.Run("s", 1, "Paris", kStageOnly);
  PromoteCommand first = PromoteTo(1);
  PromoteCommand second = PromoteTo(2);
  first.etag = second.etag = "0";
  EXPECT_THAT(Promote(first), IsOk());
  const absl::StatusOr<LabelMoved> lost = Promote(second);
  EXPECT_THAT(lost, StatusIs(absl::StatusCode::kAborted, HasSubstr("etag 1, not 0")));
  EXPECT_EQ(ReasonOf(lost.status()), "LIVE_CHANGED");
  EXPECT_EQ(h_.Live(), Revision(1));
}

TEST_F(CoordinatorTest, ABatchBeingSolvedStopsBetweenTwoStepsWhenItIsCancelled) {
  absl::Notification asked;
  int steps = 0;
  absl::StatusOr<LedgerEntry> cancelled = absl::UnknownError("not called");
  absl::Notification done;
  h_.engine.on_step = [&](int) {
    if (++steps > 1) return;
    h_.intake->Cancel({{"s", 0}, "wrong source", "test"}, [&](absl::StatusOr<LedgerEntry> entry) {
      cancelled = std::move(entry);
      done.Notify();
    });
    // A batch that is turned down behind it: by then the cancel is with the coordinator.
    h_.Submit("t", 7, {MakeEdit("Rome")})->Last();
  };
  h_.Start();
  const v1::EditBatchStatus last = h_.Run("s", 0, "Rome");
  done.WaitForNotification();
  EXPECT_EQ(last.stage(), v1::FAILED);
  EXPECT_EQ(steps, 1);
  ASSERT_THAT(cancelled, IsOk());
  EXPECT_EQ(cancelled->error_reason, "CANCELLED_BY_CLIENT");
  AMEND_ASSERT_OK_AND_ASSIGN(const LedgerEntry entry, h_.store.GetLedger({"s", 0}));
  EXPECT_EQ(entry.state, BatchState::kFailed);
  EXPECT_EQ(entry.error_code, absl::StatusCode::kCancelled);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, h_.store.ListAudit(INT64_MAX, 1));
  EXPECT_EQ(audit[0].verb, "cancel");
  EXPECT_THAT(audit[0].reason, HasSubstr("wrong source"));
  // The session goes on.
  EXPECT_EQ(h_.Run("s", 1, "Paris").stage(), v1::LIVE);
  EXPECT_EQ(h_.coordinator->depth(), 0);
}

TEST_F(CoordinatorTest, ABatchThatWaitsIsCancelledWhileAnotherOneIsSolved) {
  bool first = true;
  std::shared_ptr<StatusRecorder> waiting;
  absl::StatusOr<LedgerEntry> cancelled = absl::UnknownError("not called");
  h_.engine.on_step = [&](int step) {
    if (!first || step != 0) return;
    first = false;
    waiting = h_.Submit("s", 1, {MakeEdit("Paris")});
    h_.intake->Cancel({{"s", 1}, "", "test"},
                      [&](absl::StatusOr<LedgerEntry> entry) { cancelled = std::move(entry); });
    h_.Submit("t", 7, {MakeEdit("Rome")})->Last();
  };
  h_.Start();
  EXPECT_EQ(h_.Run("s", 0, "Rome").stage(), v1::LIVE);
  EXPECT_EQ(waiting->Last().stage(), v1::FAILED);
  EXPECT_THAT(cancelled, IsOk());
  EXPECT_THAT(h_.engine.solved_on(), testing::SizeIs(1));
  EXPECT_EQ(h_.Run("s", 2, "Oslo").revision(), 2);
}

TEST_F(CoordinatorTest, ACancelThatComesTooLateIsToldWhatBecameOfTheBatch) {
  absl::StatusOr<LedgerEntry> cancelled;
  absl::Notification done;
  h_.engine.on_norms = [&] {
    h_.coordinator->Cancel({{"s", 0}, "", "test"}, [&](absl::StatusOr<LedgerEntry> entry) {
      cancelled = std::move(entry);
      done.Notify();
    });
  };
  h_.Start();
  EXPECT_EQ(h_.Run("s", 0, "Rome").stage(), v1::LIVE);
  done.WaitForNotification();
  EXPECT_THAT(cancelled, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(ReasonOf(cancelled.status()), "BATCH_CONCLUDED");
}

TEST_F(CoordinatorTest, StopLeavesTheBatchDurableAndTheNextStartSolvesIt) {
  absl::Notification solving;
  h_.engine.on_step = [&](int) {
    if (!solving.HasBeenNotified()) solving.Notify();
    // Long enough only in so far as Stop is seen between two steps.
    while (!stop_called_) absl::SleepFor(absl::Milliseconds(1));
  };
  h_.Start();
  h_.actor = "editor";
  const auto recorder = h_.Submit("s", 0, {MakeEdit("Rome")});
  solving.WaitForNotification();
  std::thread stopper([&] { h_.coordinator->Stop(); });
  // Verbs are turned down as soon as Stop has begun.
  auto draining = std::make_shared<std::atomic<bool>>(false);
  while (!*draining) {
    h_.coordinator->Promote(PromoteTo(0), [draining](const absl::StatusOr<LabelMoved>& moved) {
      if (ReasonOf(moved.status()) == "DRAINING") *draining = true;
    });
    absl::SleepFor(absl::Milliseconds(1));
  }
  stop_called_ = true;
  stopper.join();
  EXPECT_EQ(h_.store.GetLedger({"s", 0})->state, BatchState::kDurable);

  h_.engine.on_step = nullptr;
  Coordinator* const next = h_.MakeCoordinator();
  AMEND_ASSERT_OK_AND_ASSIGN(const RecoveryReport report, next->Recover());
  EXPECT_EQ(report.live, kBaseRevision);
  EXPECT_EQ(next->depth(), 1);
  next->Start();
  EXPECT_EQ(recorder->Last().stage(), v1::LIVE);
  EXPECT_EQ(h_.store.GetLedger({"s", 0})->state, BatchState::kLive);
  EXPECT_EQ(h_.store.GetRevision(Revision(1))->actor, "editor");
}

TEST_F(CoordinatorTest, TheFirstBatchAfterAStartBuildsTheLineThatItIsSolvedOn) {
  h_.Start();
  h_.Run("s", 0, "Rome");
  h_.Run("s", 1, "Paris");
  h_.coordinator->Stop();
  LedgerEntry entry;
  entry.key = {"s", 2};
  entry.edits = {MakeEdit("Oslo")};
  ASSERT_THAT(h_.store.AppendLedger(entry), IsOk());
  const auto recorder = std::make_shared<StatusRecorder>();
  ASSERT_THAT(h_.hub.Attach(entry.key, recorder->listener()), IsOk());
  Coordinator* const next = h_.MakeCoordinator();
  ASSERT_THAT(next->Recover(), IsOk());
  EXPECT_THAT(h_.engine.line(), IsEmpty());
  next->Start();
  EXPECT_EQ(recorder->Last().stage(), v1::LIVE);
  EXPECT_EQ(h_.engine.solved_on().back(), Revision(2));
}

TEST_F(CoordinatorTest, OverADamagedLineNothingIsWritten) {
  h_.Start();
  h_.Run("s", 0, "Rome");
  h_.Run("s", 1, "Paris");
  h_.store.SetReadFactorsStatus(Revision(2), absl::DataLossError("factors/2/0/u is damaged"));
  LedgerEntry pending;
  pending.key = {"t", 0};
  ASSERT_THAT(h_.store.AppendLedger(pending), IsOk());
  ServingModel serving(nullptr, std::shared_ptr<const HookStack>());
  Coordinator::Options options;
  options.serve_intact_ancestor = true;
  Coordinator next(&h_.store, &h_.engine, &serving, &h_.hub, &h_.changes, &h_.observer, options);
  AMEND_ASSERT_OK_AND_ASSIGN(const RecoveryReport report, next.Recover());
  EXPECT_EQ(report.served, Revision(1));
  EXPECT_EQ(next.depth(), 0);
  LedgerEntry entry;
  entry.key = {"u", 0};
  EXPECT_THAT(h_.store.AppendLedger(entry),
              StatusIs(absl::StatusCode::kUnavailable,
                       testing::AllOf(HasSubstr("revision 2"), HasSubstr("revision 1 serves"))));
}

TEST_F(CoordinatorTest, AStoreThatCannotWriteHoldsTheBatchAndItGoesOnAfterwards) {
  h_.engine.on_gate = [&] { h_.store.SetWriteStatus(absl::UnavailableError("I/O error")); };
  h_.Start();
  const auto recorder = h_.Submit("s", 0, {MakeEdit("Rome")});
  while (!h_.coordinator->store_read_only()) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(h_.Live(), kBaseRevision);
  h_.store.SetWriteStatus(absl::OkStatus());
  EXPECT_EQ(recorder->Last().stage(), v1::LIVE);
  EXPECT_FALSE(h_.coordinator->store_read_only());
}

TEST_F(CoordinatorTest, VerbsAreAnsweredUnavailableWhileTheStoreCannotWrite) {
  h_.Start();
  h_.Run("s", 0, "Rome", kStageOnly);
  h_.store.SetWriteStatus(absl::ResourceExhaustedError("no space"));
  const absl::StatusOr<LabelMoved> moved = Promote(PromoteTo(1));
  EXPECT_THAT(moved, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(ReasonOf(moved.status()), "STORE_READ_ONLY");
  EXPECT_EQ(h_.Live(), kBaseRevision);
}

TEST_F(CoordinatorTest, AVerbAfterStopIsTurnedDown) {
  h_.Start();
  h_.coordinator->Stop();
  const absl::StatusOr<LabelMoved> moved = Promote(PromoteTo(0));
  EXPECT_EQ(ReasonOf(moved.status()), "DRAINING");
}

TEST_F(CoordinatorTest, FirstPendingOffsetIsTheLowestThatIsNotFinished) {
  LedgerEntry entry;
  entry.key = {"s", 4};
  h_.coordinator->Enqueue(entry);
  entry.key = {"s", 5};
  h_.coordinator->Enqueue(entry);
  EXPECT_EQ(h_.coordinator->FirstPendingOffset("s"), 4);
  EXPECT_EQ(h_.coordinator->FirstPendingOffset("t"), std::nullopt);
}

// ---- The tree, and revisions that go ------------------------------------------------------------

TEST_F(CoordinatorTest, EditsAfterARollbackGrowASecondBranchAndBothCanBeReturnedTo) {
  h_.Start();
  h_.Run("s", 0, "Rome");
  h_.Run("s", 1, "Paris");
  ASSERT_THAT(Rollback(RollbackTo(1)), IsOk());
  h_.Run("s", 2, "Oslo");
  EXPECT_EQ(h_.store.GetRevision(Revision(3))->parent, Revision(1));
  ASSERT_THAT(Promote(PromoteTo(2)), IsOk());
  h_.Run("s", 3, "Bonn");
  const RevisionRecord record = *h_.store.GetRevision(Revision(4));
  EXPECT_EQ(record.parent, Revision(2));
  EXPECT_EQ(record.line_edit_count, 3);
  EXPECT_THAT(h_.engine.line(), ElementsAre(Revision(1), Revision(2), Revision(4)));
  ASSERT_THAT(Promote(PromoteTo(3)), IsOk());
  h_.Run("s", 4, "Bern");
  EXPECT_EQ(h_.store.GetRevision(Revision(5))->parent, Revision(3));
  EXPECT_THAT(h_.engine.line(), ElementsAre(Revision(1), Revision(3), Revision(5)));
}

TEST_F(CoordinatorTest, AStagedBatchIsNotBuiltOnADeletedRevision) {
  h_.Start();
  h_.Run("s", 0, "Rome", kStageOnly);
  ASSERT_THAT(Mark(MarkCommand::Verb::kDelete, 1), IsOk());
  h_.Run("s", 1, "Paris", kStageOnly);
  EXPECT_EQ(h_.store.GetRevision(Revision(2))->parent, kBaseRevision);
}

TEST_F(CoordinatorTest, AStagedBatchWhoseParentIsPurgedWhileItIsSolvedIsSolvedOnLive) {
  h_.Start();
  h_.Run("s", 0, "Rome", kStageOnly);
  std::atomic<bool> first{true};
  absl::Notification purged;
  h_.engine.on_step = [&](int /*step*/) {
    if (!first.exchange(false)) return;
    h_.coordinator->Mark(
        {MarkCommand::Verb::kDelete, Revision(1), "", "test"},
        [](const absl::StatusOr<RevisionRecord>& marked) { EXPECT_THAT(marked, IsOk()); });
    h_.coordinator->Purge({true, false, "", "test"}, [&](const absl::StatusOr<Purged>& result) {
      EXPECT_THAT(result->revisions, ElementsAre(Revision(1)));
      purged.Notify();
    });
  };
  EXPECT_EQ(h_.Run("s", 1, "Paris", kStageOnly).stage(), v1::VALIDATED);
  purged.WaitForNotification();
  EXPECT_THAT(h_.engine.solved_on(), ElementsAre(Revision(0), Revision(1), Revision(0)));
  EXPECT_EQ(h_.store.GetRevision(Revision(2))->parent, kBaseRevision);
}

TEST_F(CoordinatorTest, TheRetentionPolicyIsFollowedFromTheStartOn) {
  h_.Start();
  for (int64_t i = 0; i < 4; ++i) h_.Run("s", i, "Rome", kStageOnly);
  ASSERT_THAT(Promote(PromoteTo(1)), IsOk());
  Coordinator::Options options;
  options.retention.keep_newest = 1;
  options.retention.purge_delay = absl::ZeroDuration();
  absl::Notification purged;
  options.on_purged = [&] { purged.Notify(); };
  h_.MakeCoordinator(options);
  ASSERT_THAT(MarkInStore(4, {false, 1, 0}), IsOk());
  ASSERT_THAT(h_.coordinator->Recover(), IsOk());
  h_.coordinator->Start();
  purged.WaitForNotification();
  EXPECT_EQ(ReasonOf(h_.serving->Resolve(Revision(4)).status()), "REVISION_PURGED");
  // The newest that serves is 3, and it stands on the others.
  for (const int64_t revision : {1, 2, 3}) {
    EXPECT_THAT(h_.serving->Resolve(Revision(revision)), IsOk());
  }
}

TEST_F(CoordinatorTest, AValidationWaitsForTheBatchThatIsBeingSolvedAndVerbsDoNot) {
  absl::Notification promoted, validated;
  std::atomic<bool> first{true};
  h_.engine.on_step = [&](int /*step*/) {
    EXPECT_FALSE(validated.HasBeenNotified());
    if (!first.exchange(false)) return;
    h_.coordinator->Validate({Revision(1), {}}, [&](const absl::StatusOr<Validation>& result) {
      EXPECT_THAT(result, IsOk());
      EXPECT_EQ(h_.store.LatestRevision(), Revision(1));
      validated.Notify();
    });
    h_.coordinator->SetLabel({"canary", Revision(0), std::nullopt, "", "test"},
                             [&](const absl::StatusOr<LabelMoved>&) { promoted.Notify(); });
    promoted.WaitForNotification();
  };
  h_.Start();
  EXPECT_EQ(h_.Run("s", 0, "Rome").stage(), v1::LIVE);
  validated.WaitForNotification();
}

TEST_F(CoordinatorTest, VerbsDoNotWaitForAValidation) {
  h_.Start();
  h_.Run("s", 0, "Rome");
  absl::Notification validated;
  std::atomic<bool> in_time{false};
  h_.engine.on_gate = [&] {
    in_time = Rollback(RollbackTo(0)).ok() && !validated.HasBeenNotified();
  };
  h_.coordinator->Validate({Revision(1), {}}, [&](const absl::StatusOr<Validation>& result) {
    EXPECT_THAT(result, IsOk());
    validated.Notify();
  });
  validated.WaitForNotification();
  EXPECT_TRUE(in_time);
  EXPECT_EQ(h_.Live(), kBaseRevision);
}

TEST_F(CoordinatorTest, InTheLastAttemptVerbsWaitForTheBatchAndCancelsOfOthersDoNot) {
  Coordinator::Options options;
  options.max_solves = 1;
  h_.MakeCoordinator(options);
  absl::Notification promoted, cancelled;
  h_.engine.on_step = [&](int step) {
    if (step > 0) return;
    h_.coordinator->SetLabel({"canary", Revision(0), std::nullopt, "", "test"},
                             [&](const absl::StatusOr<LabelMoved>&) { promoted.Notify(); });
    h_.coordinator->Cancel({{"t", 0}, "", "test"},
                           [&](const absl::StatusOr<LedgerEntry>&) { cancelled.Notify(); });
    cancelled.WaitForNotification();
    EXPECT_FALSE(promoted.HasBeenNotified());
  };
  LedgerEntry entry;
  entry.key = {"s", 0};
  entry.edits = {MakeEdit("Rome")};
  ASSERT_THAT(h_.store.AppendLedger(entry), IsOk());
  LedgerEntry behind;
  behind.key = {"t", 0};
  ASSERT_THAT(h_.store.AppendLedger(behind), IsOk());
  ASSERT_THAT(h_.coordinator->Recover(), IsOk());
  h_.coordinator->Start();
  promoted.WaitForNotification();
  EXPECT_EQ(h_.Live(), Revision(1));
}

TEST_F(CoordinatorTest, WhatWaitsWhenTheServerStopsIsAnswered) {
  absl::Status validated, marked;
  h_.coordinator->Validate({Revision(1), {}}, [&](const absl::StatusOr<Validation>& result) {
    validated = result.status();
  });
  h_.coordinator->Mark(
      {MarkCommand::Verb::kPin, Revision(1), "", "test"},
      [&](const absl::StatusOr<RevisionRecord>& result) { marked = result.status(); });
  h_.coordinator->Stop();
  EXPECT_EQ(ReasonOf(validated), "DRAINING");
  EXPECT_EQ(ReasonOf(marked), "DRAINING");
}

}  // namespace
}  // namespace amend
