#include "server/edit_stream.h"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/testing/edit_server.h"

namespace amend {
namespace {

using testing::HasSubstr;

class EditStreamTest : public testing::Test {
 protected:
  // Also when a test ends early.
  void TearDown() override {
    if (!release_.HasBeenNotified()) release_.Notify();
  }

  // Solving waits for `release_` and says so. Both outlive the coordinator thread.
  void HoldSolving() {
    s_.engine.on_step = [this](int) {
      if (!solving_.HasBeenNotified()) solving_.Notify();
      release_.WaitForNotification();
    };
  }

  absl::Notification solving_, release_;
  EditServer s_;
};

TEST_F(EditStreamTest, TheFirstResponseSaysNextOffsetAndCredits) {
  s_.Start();
  EditStreamClient client(s_.edits.get(), "s");
  const v1::StreamEditsResponse response = client.Read();
  EXPECT_EQ(response.started().session(), "s");
  EXPECT_EQ(response.started().next_offset(), 0);
  EXPECT_EQ(response.started().credits(), 16);
}

TEST_F(EditStreamTest, BatchesBecomeLiveInOffsetOrder) {
  s_.Start();
  EditStreamClient client(s_.edits.get(), "s");
  client.SendBatch(0, "Rome");
  client.SendBatch(1, "Paris");
  EXPECT_EQ(client.ReadLast(0).revision(), 1);
  const v1::EditBatchStatus second = client.ReadLast(1);
  EXPECT_EQ(second.stage(), v1::LIVE);
  EXPECT_EQ(second.revision(), 2);
}

TEST_F(EditStreamTest, AMalformedBatchBetweenGoodOnesFailsInBandAndUsesItsOffset) {
  s_.Start();
  EditStreamClient client(s_.edits.get(), "s");
  client.SendBatch(0, "Rome");
  client.SendBatch(1, "x", "malformed");
  client.SendBatch(2, "Paris");
  EXPECT_EQ(client.ReadLast(0).stage(), v1::LIVE);
  client.HalfClose();
  const grpc::Status status = client.Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  AMEND_ASSERT_OK_AND_ASSIGN(const LedgerEntry failed, s_.store.GetLedger({"s", 1}));
  EXPECT_EQ(failed.state, BatchState::kFailed);
  ASSERT_EQ(failed.verdicts.size(), 1u);
  EXPECT_EQ(failed.verdicts[0].violation_field, "batch.edits[0].subject");
  EXPECT_EQ(s_.store.GetLedger({"s", 2})->state, BatchState::kLive);
}

TEST_F(EditStreamTest, TheErrorOfAMalformedBatchNamesTheField) {
  s_.Start();
  EditStreamClient client(s_.edits.get(), "s");
  client.SendBatch(0, "x", "malformed");
  const v1::EditBatchStatus status = client.ReadLast(0);
  EXPECT_EQ(status.stage(), v1::FAILED);
  EXPECT_EQ(ReasonOfRpc(status.error()), "EDIT_INVALID");
  ASSERT_EQ(status.edit_results_size(), 1);
  EXPECT_EQ(status.edit_results(0).violation().field(), "batch.edits[0].subject");
}

TEST_F(EditStreamTest, AGapIsTurnedDownInBandAndTheStreamGoesOn) {
  s_.Start();
  EditStreamClient client(s_.edits.get(), "s");
  client.SendBatch(5, "Rome");
  const v1::EditBatchStatus gap = client.ReadLast(5);
  EXPECT_EQ(ReasonOfRpc(gap.error()), "OFFSET_GAP");
  EXPECT_EQ(gap.stage(), v1::BATCH_STAGE_UNSPECIFIED);
  client.SendBatch(0, "Rome");
  EXPECT_EQ(client.ReadLast(0).stage(), v1::LIVE);
}

TEST_F(EditStreamTest, ANegativeOffsetIsTurnedDownInBand) {
  s_.Start();
  EditStreamClient client(s_.edits.get(), "s");
  client.SendBatch(-1, "Rome");
  EXPECT_THAT(client.ReadLast(-1).error().message(), HasSubstr("-1 is negative"));
}

TEST_F(EditStreamTest, AReconnectBeginsAtTheNextOffsetAndReplaysRecordedOutcomes) {
  s_.Start();
  {
    EditStreamClient client(s_.edits.get(), "s");
    client.SendBatch(0, "Rome");
    client.ReadLast(0);
  }
  EditStreamClient again(s_.edits.get(), "s");
  EXPECT_EQ(again.Read().started().next_offset(), 1);
  again.SendBatch(0, "Rome");
  const v1::EditBatchStatus replayed = again.ReadLast(0);
  EXPECT_TRUE(replayed.replayed());
  EXPECT_EQ(replayed.stage(), v1::LIVE);
  EXPECT_EQ(replayed.revision(), 1);
  EXPECT_EQ(s_.store.LatestRevision(), Revision(1));
}

TEST_F(EditStreamTest, ADisconnectLosesNothingThatWasDurable) {
  HoldSolving();
  s_.Start();
  {
    EditStreamClient client(s_.edits.get(), "s");
    client.SendBatch(0, "Rome");
    solving_.WaitForNotification();
    client.Cancel();
  }
  release_.Notify();
  EditStreamClient again(s_.edits.get(), "s");
  again.SendBatch(0, "Rome");
  EXPECT_EQ(again.ReadLast(0).stage(), v1::LIVE);
  EXPECT_EQ(s_.store.LatestRevision(), Revision(1));
}

TEST_F(EditStreamTest, HalfCloseEndsTheStreamOkOnceEveryBatchIsTerminal) {
  // The half-close comes while the first batch is being solved; were it not so, the test would only
  // see less.
  s_.engine.on_step = [](int) { absl::SleepFor(absl::Milliseconds(20)); };
  s_.Start();
  EditStreamClient client(s_.edits.get(), "s");
  client.SendBatch(0, "Rome");
  client.SendBatch(1, "Paris");
  client.HalfClose();
  EXPECT_EQ(client.ReadLast(0).stage(), v1::LIVE);
  EXPECT_EQ(client.ReadLast(1).stage(), v1::LIVE);
  EXPECT_TRUE(client.Finish().ok());
}

TEST_F(EditStreamTest, FlushIsAnsweredOnceTheBatchesBeforeItAreTerminal) {
  s_.Start();
  EditStreamClient client(s_.edits.get(), "s");
  client.SendBatch(0, "Rome");
  client.SendBatch(1, "bad");
  client.SendFlush();
  v1::StreamEditsResponse response;
  int last = 0;
  do {
    response = client.Read();
    last += response.has_batch() && IsLast(response.batch()) ? 1 : 0;
  } while (!response.has_flushed());
  EXPECT_EQ(last, 2);
  EXPECT_EQ(response.flushed().next_offset(), 2);
}

TEST_F(EditStreamTest, AFlushOnANewStreamStopsBelowWhatAnEarlierOneLeftPending) {
  HoldSolving();
  s_.Start();
  {
    EditStreamClient client(s_.edits.get(), "s");
    client.SendBatch(0, "Rome");
    solving_.WaitForNotification();
    client.Cancel();
  }
  EditStreamClient again(s_.edits.get(), "s");
  EXPECT_EQ(again.Read().started().next_offset(), 1);
  again.SendFlush();
  EXPECT_EQ(again.Read().flushed().next_offset(), 0);
  release_.Notify();
}

TEST_F(EditStreamTest, TheFirstMessageHasToBeStart) {
  s_.Start();
  grpc::ClientContext context;
  const auto stream = s_.edits->StreamEdits(&context);
  v1::StreamEditsRequest request;
  request.mutable_flush();
  stream->Write(request);
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(EditStreamTest, ASecondStartEndsTheStream) {
  s_.Start();
  grpc::ClientContext context;
  const auto stream = s_.edits->StreamEdits(&context);
  v1::StreamEditsRequest request;
  request.mutable_start()->set_session("s");
  stream->Write(request);
  stream->Write(request);
  v1::StreamEditsResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(EditStreamTest, ASessionOfTheUnaryKindIsTurnedDown) {
  s_.Start();
  EditStreamClient client(s_.edits.get(), "unary:x");
  const grpc::Status status = client.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("reserved"));
}

TEST_F(EditStreamTest, ManySessionsAtOnceEachKeepTheirOrder) {
  constexpr int kSessions = 12;
  constexpr int kBatches = 8;
  s_.Start();
  std::vector<std::thread> clients;
  for (int i = 0; i < kSessions; ++i) {
    clients.emplace_back([this, i] {
      EditStreamClient client(s_.edits.get(), absl::StrCat("session-", i));
      for (int64_t offset = 0; offset < kBatches; ++offset) {
        client.SendBatch(offset, offset % 3 == 2 ? "bad" : "Rome", absl::StrCat("s", i));
      }
      client.HalfClose();
      EXPECT_TRUE(client.Finish().ok());
    });
  }
  for (std::thread& client : clients) client.join();
  for (int i = 0; i < kSessions; ++i) {
    int64_t last = 0;
    for (int64_t offset = 0; offset < kBatches; ++offset) {
      AMEND_ASSERT_OK_AND_ASSIGN(const LedgerEntry entry,
                                 s_.store.GetLedger({absl::StrCat("session-", i), offset}));
      EXPECT_EQ(entry.state, offset % 3 == 2 ? BatchState::kRejected : BatchState::kLive);
      EXPECT_GT(entry.revision.value(), last);
      last = entry.revision.value();
    }
  }
  EXPECT_EQ(s_.store.LatestRevision(), Revision(kSessions * kBatches));
  EXPECT_EQ(s_.coordinator->depth(), 0);
}

TEST_F(EditStreamTest, TwoStreamsOfOneSessionHearTheSameOutcomeOnce) {
  HoldSolving();
  s_.Start();
  EditStreamClient first(s_.edits.get(), "s");
  first.SendBatch(0, "Rome");
  solving_.WaitForNotification();
  EditStreamClient second(s_.edits.get(), "s");
  EXPECT_EQ(second.Read().started().next_offset(), 1);
  second.SendBatch(0, "Rome");
  // The recorded state first: it is durable.
  const v1::StreamEditsResponse recorded = second.Read();
  EXPECT_TRUE(recorded.batch().replayed());
  EXPECT_EQ(recorded.batch().stage(), v1::DURABLE);
  release_.Notify();
  EXPECT_EQ(first.ReadLast(0).revision(), 1);
  EXPECT_EQ(second.ReadLast(0).revision(), 1);
  EXPECT_EQ(s_.store.LatestRevision(), Revision(1));
}

TEST_F(EditStreamTest, AClientThatDoesNotReadGetsEveryAnswerLater) {
  s_.Start();
  EditStreamClient client(s_.edits.get(), "s");
  // More than may wait to be written; the last ones are not read before the first are written.
  constexpr int kFlushes = 300;
  std::thread sender([&] {
    for (int i = 0; i < kFlushes; ++i) client.SendFlush();
    client.HalfClose();
  });
  EXPECT_TRUE(client.Read().has_started());
  for (int i = 0; i < kFlushes; ++i) EXPECT_TRUE(client.Read().has_flushed());
  sender.join();
  EXPECT_TRUE(client.Finish().ok());
}

TEST_F(EditStreamTest, EveryStageIsToldInOrder) {
  s_.Start();
  EditStreamClient client(s_.edits.get(), "s", v1::STAGE_ONLY);
  EXPECT_TRUE(client.Read().has_started());
  client.SendBatch(0, "Rome");
  std::vector<v1::BatchStage> stages;
  while (stages.empty() || stages.back() != v1::VALIDATED) {
    const v1::EditBatchStatus batch = client.Read().batch();
    if (stages.empty() || stages.back() != batch.stage()) stages.push_back(batch.stage());
    ASSERT_LT(stages.size(), 10u);
  }
  EXPECT_THAT(stages, testing::IsSupersetOf({v1::ACCEPTED, v1::DURABLE, v1::STAGED}));
  EXPECT_TRUE(std::is_sorted(stages.begin(), stages.end()));
}

TEST_F(EditStreamTest, DroppingFailingEditsIsAskedForWithTheStream) {
  s_.Start();
  grpc::ClientContext context;
  const auto stream = s_.edits->StreamEdits(&context);
  v1::StreamEditsRequest request;
  request.mutable_start()->set_session("s");
  request.mutable_start()->set_failure_policy(v1::DROP_FAILING);
  stream->Write(request);
  *request.mutable_batch()->mutable_batch()->add_edits() = ToProto(MakeEdit("bad", "a"));
  *request.mutable_batch()->mutable_batch()->add_edits() = ToProto(MakeEdit("Rome", "b"));
  stream->Write(request);
  stream->WritesDone();
  v1::StreamEditsResponse response, last;
  while (stream->Read(&response)) last = response;
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(last.batch().stage(), v1::LIVE);
  ASSERT_EQ(last.batch().edit_results_size(), 2);
  EXPECT_TRUE(last.batch().edit_results(0).dropped());
  EXPECT_FALSE(last.batch().edit_results(1).dropped());
}

TEST_F(EditStreamTest, AMessageOverFourMebibytesEndsTheStreamAndTheSessionGoesOn) {
  s_.Start();
  {
    EditStreamClient client(s_.edits.get(), "s");
    client.SendBatch(0, "Rome");
    EXPECT_EQ(client.ReadLast(0).stage(), v1::LIVE);
    client.SendBatch(1, std::string(5 << 20, 'x'));
    EXPECT_EQ(client.Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  EditStreamClient again(s_.edits.get(), "s");
  EXPECT_EQ(again.Read().started().next_offset(), 1);
}

TEST_F(EditStreamTest, TheServerShutsDownWhileAStreamWaits) {
  s_.Start();
  EditStreamClient client(s_.edits.get(), "s");
  EXPECT_TRUE(client.Read().has_started());
  s_.server->Shutdown(std::chrono::system_clock::now());
  EXPECT_FALSE(client.Finish().ok());
}

TEST(EditStreamCreditsTest, ABatchBeyondTheCreditsIsTurnedDownInBand) {
  absl::Notification release;
  EditServer s(/*credits=*/1);
  s.engine.on_step = [&](int) { release.WaitForNotification(); };
  s.Start();
  EditStreamClient client(s.edits.get(), "s");
  client.SendBatch(0, "Rome");
  client.SendBatch(1, "Paris");
  EXPECT_EQ(ReasonOfRpc(client.ReadLast(1).error()), "CREDITS_EXCEEDED");
  release.Notify();
  EXPECT_EQ(client.ReadLast(0).stage(), v1::LIVE);
  client.SendBatch(1, "Paris");
  EXPECT_EQ(client.ReadLast(1).stage(), v1::LIVE);
}

}  // namespace
}  // namespace amend
