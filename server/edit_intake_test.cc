#include "server/edit_intake.h"

#include "absl/synchronization/notification.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/testing/edit_harness.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

google::rpc::ErrorInfo InfoOf(const v1::EditBatchStatus& status) {
  google::rpc::ErrorInfo info;
  for (const auto& detail : status.error().details()) {
    if (detail.Is<google::rpc::ErrorInfo>()) detail.UnpackTo(&info);
  }
  return info;
}

TEST(EditIntakeTest, ANewBatchIsAcceptedThenDurableBeforeAnythingIsSolved) {
  EditHarness h;
  h.intake->Start();
  const auto first = h.Submit("s", 0, {MakeEdit("Rome")});
  // The second one is turned down after the first one was taken.
  h.Submit("s", 7, {MakeEdit("Rome")})->Last();
  EXPECT_THAT(first->Stages(), ElementsAre(v1::ACCEPTED, v1::DURABLE));
  EXPECT_EQ(h.store.GetLedger({"s", 0})->state, BatchState::kDurable);
  EXPECT_EQ(h.coordinator->depth(), 1);
}

TEST(EditIntakeTest, AGapNamesTheNextOffset) {
  EditHarness h;
  h.intake->Start();
  const v1::EditBatchStatus status = h.Submit("s", 2, {MakeEdit("Rome")})->Last();
  EXPECT_EQ(status.error().code(), static_cast<int>(absl::StatusCode::kOutOfRange));
  EXPECT_EQ(InfoOf(status).reason(), "OFFSET_GAP");
  EXPECT_EQ(InfoOf(status).metadata().at("next_offset"), "0");
  EXPECT_EQ(h.store.write_count(), 0);
}

TEST(EditIntakeTest, ARepeatedOffsetWithTheSameEditsGivesTheRecordedOutcome) {
  EditHarness h;
  h.Start();
  const v1::EditBatchStatus first = h.Run("s", 0, "Rome");
  const int64_t writes = h.store.write_count();
  v1::EditBatchStatus again = h.Run("s", 0, "Rome");
  EXPECT_TRUE(again.replayed());
  again.clear_replayed();
  EXPECT_EQ(again.SerializeAsString(), first.SerializeAsString());
  EXPECT_EQ(h.store.write_count(), writes);
}

TEST(EditIntakeTest, ARepeatedBatchKeepsItsFirstSender) {
  EditHarness h;
  h.Start();
  h.actor = "first";
  EXPECT_EQ(h.Run("s", 0, "Rome").actor(), "first");
  h.actor = "second";
  const v1::EditBatchStatus again = h.Run("s", 0, "Rome");
  EXPECT_TRUE(again.replayed());
  EXPECT_EQ(again.actor(), "first");
  EXPECT_EQ(h.store.GetLedger({"s", 0})->actor, "first");
}

TEST(EditIntakeTest, TheTraceOfABatchIsKnownUnlessItWasNotTaken) {
  BatchTraces traces;
  EditIntake::Options options;
  options.traces = &traces;
  EditHarness h(options);
  h.trace_id = "first";
  h.Start();
  h.Run("s", 0, "Rome");
  h.trace_id = "second";
  EXPECT_TRUE(h.Run("s", 0, "Rome").replayed());
  EXPECT_EQ(traces.TraceOf({"s", 0}), "first");
  h.store.SetWriteStatus(absl::UnavailableError("no disk"));
  h.Run("s", 1, "Paris");
  EXPECT_EQ(traces.TraceOf({"s", 1}), "");
}

TEST(EditIntakeTest, AMalformedBatchIsItsSendersToo) {
  EditHarness h;
  h.Start();
  h.actor = "editor";
  EXPECT_EQ(h.Submit("s", 0, {MakeEdit("x", "malformed")})->Last().actor(), "editor");
  EXPECT_EQ(h.store.GetLedger({"s", 0})->actor, "editor");
}

TEST(EditIntakeTest, ARepeatedOffsetWithOtherEditsIsAConflictAndChangesNothing) {
  EditHarness h;
  h.Start();
  h.Run("s", 0, "Rome");
  const v1::EditBatchStatus status = h.Run("s", 0, "Paris");
  EXPECT_EQ(InfoOf(status).reason(), "OFFSET_CONFLICT");
  EXPECT_EQ(status.stage(), v1::BATCH_STAGE_UNSPECIFIED);
  EXPECT_EQ(h.store.GetLedger({"s", 0})->edits[0].target_new, "Rome");
}

TEST(EditIntakeTest, ARepeatedOffsetThatIsInFlightHearsOfItsEnd) {
  absl::Notification release;
  EditHarness h;
  h.engine.on_step = [&](int) { release.WaitForNotification(); };
  h.Start();
  const auto first = h.Submit("s", 0, {MakeEdit("Rome")});
  const auto again = h.Submit("s", 0, {MakeEdit("Rome")});
  // A third one that is turned down: by then the second one waits.
  h.Submit("s", 7, {MakeEdit("Rome")})->Last();
  release.Notify();
  EXPECT_EQ(first->Last().stage(), v1::LIVE);
  EXPECT_EQ(again->Last().stage(), v1::LIVE);
  EXPECT_TRUE(again->statuses().front().replayed());
  EXPECT_EQ(h.store.LatestRevision(), Revision(1));
}

TEST(EditIntakeTest, AMalformedBatchUsesItsOffsetAndReplaysTheSame) {
  EditHarness h;
  h.Start();
  const std::vector<Edit> edits = {MakeEdit("Rome"), MakeEdit("x", "malformed")};
  v1::EditBatchStatus first = h.Submit("s", 0, edits)->Last();
  EXPECT_EQ(first.stage(), v1::FAILED);
  EXPECT_THAT(first.error().message(), HasSubstr("batch.edits[1].subject is malformed"));
  v1::EditBatchStatus again = h.Submit("s", 0, edits)->Last();
  EXPECT_TRUE(again.replayed());
  again.clear_replayed();
  EXPECT_EQ(again.SerializeAsString(), first.SerializeAsString());
  EXPECT_EQ(h.Run("s", 1, "Rome").stage(), v1::LIVE);
}

TEST(EditIntakeTest, EditsThatWaitAreBoundedInBytesToo) {
  absl::Notification release;
  EditIntake::Options options;
  options.max_pending_bytes = 3 * TextBytes({MakeEdit("Rome")}) + 1000;
  EditHarness h(options);
  h.engine.on_step = [&](int) { release.WaitForNotification(); };
  h.Start();
  const auto first = h.Submit("s", 0, {MakeEdit("Rome")});
  Edit large = MakeEdit("Rome", "other");
  large.paraphrases.emplace_back(2000, 'x');
  BatchSubmission submission;
  submission.key = {"t", 0};
  submission.edits = {large};
  const absl::Status full = h.intake->Submit(submission);
  EXPECT_THAT(full, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("bytes of edits")));
  EXPECT_EQ(ReasonOf(full), "QUEUE_FULL");
  release.Notify();
  EXPECT_EQ(first->Last().stage(), v1::LIVE);
}

TEST(EditIntakeTest, AnEmptyBatchIsMalformed) {
  EditHarness h;
  h.intake->Start();
  const v1::EditBatchStatus status = h.Submit("s", 0, {})->Last();
  EXPECT_EQ(status.stage(), v1::FAILED);
  EXPECT_THAT(status.error().message(), HasSubstr("batch.edits is empty"));
}

TEST(EditIntakeTest, AMalformedBatchLeavesNoTraceWhereItIsNotToBeRecorded) {
  EditHarness h;
  h.intake->Start();
  const v1::EditBatchStatus status =
      h.Submit("unary:r", 0, {MakeEdit("x", "malformed")}, PromotionPolicy::kWhenValidated,
               /*record_malformed=*/false)
          ->Last();
  EXPECT_EQ(status.stage(), v1::BATCH_STAGE_UNSPECIFIED);
  EXPECT_EQ(InfoOf(status).reason(), "EDIT_INVALID");
  EXPECT_EQ(h.store.write_count(), 0);
}

TEST(EditIntakeTest, TooManyPendingBatchesAreQueueFullAndTheOffsetStaysFree) {
  EditIntake::Options options;
  options.max_pending_batches = 1;
  EditHarness h(options);
  h.intake->Start();
  h.Submit("s", 0, {MakeEdit("Rome")});
  const v1::EditBatchStatus status = h.Submit("s", 1, {MakeEdit("Paris")})->Last();
  EXPECT_EQ(InfoOf(status).reason(), "QUEUE_FULL");
  EXPECT_EQ(*h.store.NextOffset("s"), 1);
}

TEST(EditIntakeTest, AFullHandOffQueueIsToldAtOnce) {
  EditIntake::Options options;
  options.max_queued = 1;
  EditHarness h(options);
  // The intake thread does not run: what is submitted stays in the queue.
  h.Submit("s", 0, {MakeEdit("Rome")});
  const absl::Status full = h.intake->Submit({});
  EXPECT_THAT(full, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(ReasonOf(full), "QUEUE_FULL");
}

TEST(EditIntakeTest, AStoreThatCannotWriteIsUnavailableAndTheOffsetStaysFree) {
  EditHarness h;
  h.Start();
  h.store.SetWriteStatus(absl::UnavailableError("I/O error"));
  EXPECT_EQ(InfoOf(h.Run("s", 0, "Rome")).reason(), "STORE_READ_ONLY");
  h.store.SetWriteStatus(absl::OkStatus());
  const v1::EditBatchStatus status = h.Run("s", 0, "Rome");
  EXPECT_EQ(status.stage(), v1::LIVE);
  EXPECT_FALSE(status.replayed());
}

TEST(EditIntakeTest, StopTurnsDownWhatWaits) {
  EditHarness h;
  const auto recorder = h.Submit("s", 0, {MakeEdit("Rome")});
  h.intake->Stop();
  EXPECT_EQ(InfoOf(recorder->Last()).reason(), "DRAINING");
  EXPECT_EQ(ReasonOf(h.intake->Submit({})), "DRAINING");
}

}  // namespace
}  // namespace amend
