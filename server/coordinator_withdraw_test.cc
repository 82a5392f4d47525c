#include <atomic>
#include <memory>
#include <utility>

#include "absl/synchronization/notification.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/coordinator.h"
#include "server/errors.h"
#include "server/testing/edit_harness.h"

// What the coordinator does with withdrawals, beside batches and verbs.

namespace amend {
namespace {

using testing::ElementsAre;

class CoordinatorWithdrawTest : public testing::Test {
 protected:
  // Waits for the answer.
  template <typename Command, typename Result>
  absl::StatusOr<Result> Call(void (Coordinator::*verb)(Command, Coordinator::Callback<Result>),
                              Command command) {
    absl::StatusOr<Result> answer;
    absl::Notification done;
    (h_.coordinator.get()->*verb)(std::move(command), [&](absl::StatusOr<Result> result) {
      answer = std::move(result);
      done.Notify();
    });
    done.WaitForNotification();
    return answer;
  }
  static PromoteCommand PromoteTo(int64_t revision) {
    return {"live", Revision(revision), std::nullopt, "", "test"};
  }
  static RollbackCommand RollbackTo(int64_t revision) {
    return {"live", Revision(revision), std::nullopt, "because", "test"};
  }
  // Of the first edit of a revision, from where "live" stands.
  static WithdrawCommand FirstEditOf(int64_t revision) {
    WithdrawCommand command;
    command.label = "live";
    command.edits = {EditId{Revision(revision), 0}};
    command.reason = "because";
    command.actor = "test";
    return command;
  }

  EditHarness h_;
  std::atomic<bool> stop_called_{false};
};

TEST_F(CoordinatorWithdrawTest, ABatchIsSolvedOnAWithdrawalWithoutTheWithdrawnKeys) {
  h_.Start();
  h_.Submit("s", 0, {MakeEdit("Rome", "a"), MakeEdit("Paris", "b")})->Last();
  AMEND_ASSERT_OK_AND_ASSIGN(const EditsWithdrawn withdrawn,
                             Call(&Coordinator::Withdraw, FirstEditOf(1)));
  EXPECT_EQ(withdrawn.record.revision, Revision(2));
  EXPECT_EQ(h_.Live(), Revision(2));
  EXPECT_EQ(h_.Run("s", 1, "Oslo").revision(), 3);
  EXPECT_THAT(h_.engine.line(), ElementsAre(Revision(1), Revision(2), Revision(3)));
  EXPECT_EQ(h_.engine.line_keys(), 1 + 1);
  EXPECT_EQ(h_.store.GetRevision(Revision(3))->line_edit_count, 2);
}

TEST_F(CoordinatorWithdrawTest, AWithdrawalWaitsForTheBatchAtWorkAndComesBeforeTheNext) {
  absl::StatusOr<EditsWithdrawn> withdrawn = absl::UnknownError("not called");
  std::atomic<int> solves{0};
  h_.engine.on_step = [&](int step) {
    if (step != 1 || ++solves != 2) return;
    h_.coordinator->Withdraw(
        FirstEditOf(1), [&](absl::StatusOr<EditsWithdrawn> made) { withdrawn = std::move(made); });
  };
  h_.Start();
  h_.Run("s", 0, "Rome");
  const auto second = h_.Submit("s", 1, {MakeEdit("Paris")});
  const auto third = h_.Submit("s", 2, {MakeEdit("Oslo")});
  EXPECT_EQ(second->Last().revision(), 2);
  EXPECT_EQ(third->Last().revision(), 4);
  ASSERT_THAT(withdrawn, IsOk());
  EXPECT_EQ(withdrawn->record.revision, Revision(3));
  EXPECT_EQ(withdrawn->record.parent, Revision(2));
  EXPECT_EQ(h_.store.GetRevision(Revision(4))->parent, Revision(3));
  // No batch was solved twice for it.
  EXPECT_THAT(h_.engine.solved_on(), ElementsAre(Revision(0), Revision(1), Revision(3)));
}

TEST_F(CoordinatorWithdrawTest, VerbsDoNotWaitForAWithdrawalWhichThenBeginsAnew) {
  h_.Start();
  h_.Run("s", 0, "Rome");
  h_.Run("s", 1, "Paris");
  absl::Notification withdrawn;
  int gates = 0;
  h_.engine.on_gate = [&] {
    if (++gates > 1) return;
    // The gate is held up until both are answered.
    EXPECT_THAT(Call(&Coordinator::Rollback, RollbackTo(1)), IsOk());
    EXPECT_EQ(h_.Live(), Revision(1));
    EXPECT_THAT(Call(&Coordinator::Promote, PromoteTo(2)), IsOk());
    EXPECT_EQ(h_.Live(), Revision(2));
    EXPECT_FALSE(withdrawn.HasBeenNotified());
    EXPECT_EQ(h_.store.LatestRevision(), Revision(2));
  };
  absl::StatusOr<EditsWithdrawn> result;
  h_.coordinator->Withdraw(FirstEditOf(1), [&](absl::StatusOr<EditsWithdrawn> made) {
    result = std::move(made);
    withdrawn.Notify();
  });
  withdrawn.WaitForNotification();
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(gates, 2);
  EXPECT_EQ(result->record.revision, Revision(3));
  EXPECT_EQ(result->record.parent, Revision(2));
  EXPECT_EQ(h_.Live(), Revision(3));
}

TEST_F(CoordinatorWithdrawTest, AWithdrawalWithAnEtagIsRefusedWhenTheLabelMovesDuringItsGate) {
  h_.Start();
  h_.Run("s", 0, "Rome");
  h_.Run("s", 1, "Paris");
  h_.engine.on_gate = [&] { EXPECT_THAT(Call(&Coordinator::Rollback, RollbackTo(1)), IsOk()); };
  WithdrawCommand command = FirstEditOf(1);
  command.etag = "2";
  EXPECT_EQ(ReasonOf(Call(&Coordinator::Withdraw, command).status()), "LIVE_CHANGED");
  EXPECT_EQ(h_.Live(), Revision(1));
  EXPECT_EQ(h_.store.LatestRevision(), Revision(2));
}

TEST_F(CoordinatorWithdrawTest, AWithdrawalWhoseLabelStaysIsMeasuredOnceWhateverElseMoves) {
  h_.Start();
  h_.Run("s", 0, "Rome");
  int gates = 0;
  h_.engine.on_gate = [&] {
    ++gates;
    SetLabelCommand command{"canary", Revision(1), std::nullopt, "", "test"};
    EXPECT_THAT(Call(&Coordinator::SetLabel, std::move(command)), IsOk());
  };
  ASSERT_THAT(Call(&Coordinator::Withdraw, FirstEditOf(1)), IsOk());
  EXPECT_EQ(gates, 1);
  EXPECT_EQ(h_.Live(), Revision(2));
}

TEST_F(CoordinatorWithdrawTest, AWithdrawalServesAgainAfterARestart) {
  h_.Start();
  h_.Run("s", 0, "Rome");
  h_.Run("s", 1, "Paris");
  ASSERT_THAT(Call(&Coordinator::Withdraw, FirstEditOf(1)), IsOk());
  h_.coordinator->Stop();
  LedgerEntry entry;
  entry.key = {"s", 2};
  entry.edits = {MakeEdit("Oslo")};
  ASSERT_THAT(h_.store.AppendLedger(entry), IsOk());
  const auto recorder = std::make_shared<StatusRecorder>();
  ASSERT_THAT(h_.hub.Attach(entry.key, recorder->listener()), IsOk());
  Coordinator* const next = h_.MakeCoordinator();
  ASSERT_THAT(next->Recover(), IsOk());
  EXPECT_EQ(h_.Live(), Revision(3));
  next->Start();
  EXPECT_EQ(recorder->Last().stage(), v1::LIVE);
  next->Stop();
  EXPECT_EQ(h_.engine.solved_on().back(), Revision(3));
  // Those of Paris and Oslo.
  EXPECT_EQ(h_.engine.line_keys(), 2);
  EXPECT_EQ(h_.engine.line_head(), Revision(4));
}

TEST_F(CoordinatorWithdrawTest, WithdrawalsThatWaitWhenItStopsAreTurnedDown) {
  absl::Status told;
  h_.engine.on_step = [&](int step) {
    if (step > 0 || h_.engine.solved_on().size() < 2 || stop_called_) return;
    h_.coordinator->Withdraw(
        FirstEditOf(1), [&](const absl::StatusOr<EditsWithdrawn>& made) { told = made.status(); });
    stop_called_ = true;
  };
  h_.Start();
  h_.Run("s", 0, "Rome");
  h_.engine.on_gate = [&] { h_.store.SetWriteStatus(absl::UnavailableError("I/O error")); };
  h_.Submit("s", 1, {MakeEdit("Paris")});
  while (!stop_called_) absl::SleepFor(absl::Milliseconds(1));
  h_.coordinator->Stop();
  EXPECT_FALSE(told.ok());
  EXPECT_EQ(ReasonOf(Call(&Coordinator::Withdraw, FirstEditOf(1)).status()), "DRAINING");
}

}  // namespace
}  // namespace amend
