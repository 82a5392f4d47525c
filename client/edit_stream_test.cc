#include "client/edit_stream.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/errors.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Recorder : public EditStreamObserver {
 public:
  void OnStarted(int64_t next_offset) override { started.push_back(next_offset); }
  void OnBatch(const v1::EditBatchStatus& batch) override { batches.push_back(batch); }
  void OnReconnect(int, const absl::Status&, absl::Duration pause) override {
    pauses.push_back(pause);
  }

  std::vector<int64_t> started;
  std::vector<v1::EditBatchStatus> batches;
  std::vector<absl::Duration> pauses;
};

v1::EditBatch MakeBatch(int number, int size = 1) {
  v1::EditBatch batch;
  for (int i = 0; i < size; ++i) {
    v1::Edit* edit = batch.add_edits();
    edit->set_prompt(absl::StrCat("thing ", number, ".", i, " is"));
    edit->set_subject(absl::StrCat("thing ", number, ".", i));
    edit->set_target_new(absl::StrCat("blue ", number));
  }
  return batch;
}

std::vector<v1::EditBatch> MakeBatches(int count) {
  std::vector<v1::EditBatch> batches;
  for (int i = 0; i < count; ++i) batches.push_back(MakeBatch(i));
  return batches;
}

EditStreamOptions Options(const std::string& session) {
  EditStreamOptions options;
  options.session = session;
  options.sleep = [](absl::Duration) {};
  return options;
}

std::vector<v1::BatchStage> Stages(const std::vector<v1::EditBatchStatus>& batches) {
  std::vector<v1::BatchStage> stages;
  for (const auto& batch : batches) stages.push_back(batch.stage());
  return stages;
}

TEST(EditStreamTest, EveryBatchComesBackInOrderWithItsRevision) {
  FakeServer server;
  Recorder recorder;
  const auto outcomes =
      Client::Create({server.address()})->StreamEdits(Options("s"), MakeBatches(3), &recorder);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_THAT(Stages(*outcomes), ElementsAre(v1::LIVE, v1::LIVE, v1::LIVE));
  EXPECT_EQ((*outcomes)[2].revision(), 3);
  EXPECT_EQ(server.live(), 3);
  EXPECT_THAT(recorder.started, ElementsAre(0));
}

TEST(EditStreamTest, StagesAreReportedAsTheyCome) {
  FakeServer server;
  Recorder recorder;
  ASSERT_TRUE(Client::Create({server.address()})
                  ->StreamEdits(Options("s"), MakeBatches(1), &recorder)
                  .ok());
  EXPECT_THAT(Stages(recorder.batches),
              ElementsAre(v1::ACCEPTED, v1::DURABLE, v1::SOLVING, v1::LIVE));
}

TEST(EditStreamTest, NoBatchesMakeNoRevision) {
  FakeServer server;
  Recorder recorder;
  const auto outcomes =
      Client::Create({server.address()})->StreamEdits(Options("s"), {}, &recorder);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_THAT(*outcomes, IsEmpty());
}

TEST(EditStreamTest, AFailedBatchDoesNotStopTheOthers) {
  FakeServer server;
  auto batches = MakeBatches(3);
  batches[1].mutable_edits(0)->set_subject("something else");
  Recorder recorder;
  const auto outcomes =
      Client::Create({server.address()})->StreamEdits(Options("s"), batches, &recorder);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_THAT(Stages(*outcomes), ElementsAre(v1::LIVE, v1::FAILED, v1::LIVE));
  EXPECT_EQ((*outcomes)[1].edit_results(0).violation().field(), "batch.edits[0].subject");
}

TEST(EditStreamTest, StagedBatchesEndValidated) {
  FakeServer server;
  EditStreamOptions options = Options("s");
  options.promotion = v1::STAGE_ONLY;
  Recorder recorder;
  const auto outcomes =
      Client::Create({server.address()})->StreamEdits(options, MakeBatches(2), &recorder);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_THAT(Stages(*outcomes), ElementsAre(v1::VALIDATED, v1::VALIDATED));
  EXPECT_EQ(server.live(), 0);
}

TEST(EditStreamTest, SameSessionAgainReturnsRecordedOutcomesAndSolvesNothing) {
  FakeServer server;
  Recorder recorder;
  const auto client = Client::Create({server.address()});
  ASSERT_TRUE(client->StreamEdits(Options("s"), MakeBatches(3), &recorder).ok());
  const auto again = client->StreamEdits(Options("s"), MakeBatches(3), &recorder);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE((*again)[1].replayed());
  EXPECT_EQ((*again)[1].revision(), 2);
  EXPECT_EQ(server.solved_batches(), 3);
  EXPECT_THAT(recorder.started, ElementsAre(0, 3));
}

TEST(EditStreamTest, LongerFileOfTheSameSessionGoesOnWhereItEnded) {
  FakeServer server;
  Recorder recorder;
  const auto client = Client::Create({server.address()});
  ASSERT_TRUE(client->StreamEdits(Options("s"), MakeBatches(2), &recorder).ok());
  const auto more = client->StreamEdits(Options("s"), MakeBatches(5), &recorder);
  ASSERT_TRUE(more.ok()) << more.status();
  EXPECT_EQ(more->back().revision(), 5);
  EXPECT_EQ(server.solved_batches(), 5);
}

TEST(EditStreamTest, StagedBatchesOfAnEarlierRunAreAResultForAPromotingOne) {
  FakeServerOptions server_options;
  server_options.credits = 1;
  FakeServer server(server_options);
  Recorder recorder;
  const auto client = Client::Create({server.address()});
  EditStreamOptions options = Options("s");
  options.promotion = v1::STAGE_ONLY;
  ASSERT_TRUE(client->StreamEdits(options, MakeBatches(2), &recorder).ok());
  const auto again = client->StreamEdits(Options("s"), MakeBatches(2), &recorder);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_THAT(Stages(*again), ElementsAre(v1::VALIDATED, v1::VALIDATED));
}

TEST(EditStreamTest, ASessionOfOtherEditsIsRefused) {
  FakeServer server;
  Recorder recorder;
  const auto client = Client::Create({server.address()});
  ASSERT_TRUE(client->StreamEdits(Options("mine"), {MakeBatch(0, 3)}, &recorder).ok());
  const auto other = client->StreamEdits(Options("mine"), {MakeBatch(0, 2)}, &recorder);
  EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other.status().message()),
              HasSubstr("session mine has a batch of 3 edits at offset 0, this one has 2"));
}

// Wherever the connection breaks, the result is that of an undisturbed run.
TEST(EditStreamTest, ABrokenConnectionIsTakenUpAgainWithoutDoingAnythingTwice) {
  for (int responses = 0; responses < 14; ++responses) {
    FakeServerOptions server_options;
    server_options.break_first_stream_after = responses;
    FakeServer server(server_options);
    Recorder recorder;
    const auto outcomes =
        Client::Create({server.address()})->StreamEdits(Options("s"), MakeBatches(3), &recorder);
    ASSERT_TRUE(outcomes.ok()) << outcomes.status() << " after " << responses;
    EXPECT_THAT(Stages(*outcomes), ElementsAre(v1::LIVE, v1::LIVE, v1::LIVE)) << responses;
    EXPECT_EQ(outcomes->back().revision(), 3) << responses;
    EXPECT_EQ(server.solved_batches(), 3) << responses;
    EXPECT_EQ(server.streams(), 2) << responses;
  }
}

TEST(EditStreamTest, AttemptsToReconnectAreBoundedAndPauseLonger) {
  FakeServerOptions server_options;
  server_options.break_first_stream_after = 0;
  server_options.break_every_stream = true;
  FakeServer server(server_options);
  EditStreamOptions options = Options("s");
  options.max_reconnects = 3;
  options.first_pause = absl::Seconds(1);
  options.longest_pause = absl::Seconds(3);
  Recorder recorder;
  const auto outcomes =
      Client::Create({server.address()})->StreamEdits(options, MakeBatches(2), &recorder);
  EXPECT_THAT(std::string(outcomes.status().message()), HasSubstr("0 of 2 batches are done"));
  EXPECT_THAT(recorder.pauses, ElementsAre(absl::Seconds(1), absl::Seconds(2), absl::Seconds(3)));
}

TEST(EditStreamTest, ProgressRenewsTheAttempts) {
  FakeServerOptions server_options;
  server_options.break_first_stream_after = 5;  // Started and one batch.
  server_options.break_every_stream = true;
  FakeServer server(server_options);
  EditStreamOptions options = Options("s");
  options.max_reconnects = 1;
  Recorder recorder;
  const auto outcomes =
      Client::Create({server.address()})->StreamEdits(options, MakeBatches(5), &recorder);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_EQ(server.solved_batches(), 5);
}

TEST(EditStreamTest, NoServerIsALostConnection) {
  EditStreamOptions options = Options("s");
  options.max_reconnects = 0;
  Recorder recorder;
  const auto outcomes =
      Client::Create({"127.0.0.1:1"})->StreamEdits(options, MakeBatches(1), &recorder);
  EXPECT_TRUE(IsConnectionLost(outcomes.status())) << outcomes.status();
}

TEST(EditStreamTest, NoMoreBatchesAreInFlightThanTheServerAllows) {
  FakeServerOptions server_options;
  server_options.credits = 2;
  server_options.wait_for_excess_batches = true;
  FakeServer server(server_options);
  Recorder recorder;
  const auto outcomes =
      Client::Create({server.address()})->StreamEdits(Options("s"), MakeBatches(6), &recorder);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_EQ(server.max_in_flight(), 2);
}

TEST(EditStreamTest, ABatchRefusedForLackOfRoomIsSentAgain) {
  FakeServerOptions server_options;
  server_options.refuse_first_batch = true;
  FakeServer server(server_options);
  Recorder recorder;
  const auto outcomes =
      Client::Create({server.address()})->StreamEdits(Options("s"), MakeBatches(3), &recorder);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_THAT(Stages(*outcomes), ElementsAre(v1::LIVE, v1::LIVE, v1::LIVE));
  EXPECT_THAT(recorder.pauses, SizeIs(1));
}

TEST(EditStreamTest, AnOutcomeThatTheStreamDidNotTellIsAskedFor) {
  FakeServerOptions server_options;
  server_options.silent_offsets = {1};
  FakeServer server(server_options);
  Recorder recorder;
  const auto outcomes =
      Client::Create({server.address()})->StreamEdits(Options("s"), MakeBatches(3), &recorder);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_EQ((*outcomes)[1].stage(), v1::LIVE);
}

// Far more bytes both ways than the transport buffers.
TEST(EditStreamTest, ManyLargeBatchesDoNotDeadlock) {
  FakeServerOptions server_options;
  server_options.credits = 64;
  FakeServer server(server_options);
  std::vector<v1::EditBatch> batches;
  for (int i = 0; i < 64; ++i) {
    v1::EditBatch batch = MakeBatch(i, 20);
    for (auto& edit : *batch.mutable_edits()) edit.set_client_edit_id(std::string(10000, 'x'));
    batches.push_back(std::move(batch));
  }
  Recorder recorder;
  const auto outcomes =
      Client::Create({server.address()})->StreamEdits(Options("s"), batches, &recorder);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_EQ(outcomes->back().revision(), 64);
}

}  // namespace
}  // namespace amend::client
