#include "server/generation_service.h"

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/serving_model.h"
#include "server/testing/byte_tokenizer.h"
#include "server/testing/fake_decode_backend.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// The ErrorInfo reason in a gRPC status.
std::string ReasonIn(const grpc::Status& status) {
  google::rpc::Status rpc;
  if (!rpc.ParseFromString(status.error_details())) return "";
  for (const auto& detail : rpc.details()) {
    google::rpc::ErrorInfo info;
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

// A service over the fake backend, on an in-process channel. Revisions 0 to 3 exist.
class GenerationServiceTest : public ::testing::Test {
 protected:
  GenerationServiceTest() {
    Scheduler::Options scheduler;
    scheduler.context_length = 100;
    scheduler.max_waiting_bytes = 1 << 20;
    scheduler.token_bytes = [this](TokenId id) { return tokenizer_.TokenBytes(id); };
    scheduler_ = std::make_unique<Scheduler>(&backend_, scheduler);
    GenerationService::Options options;
    for (const int64_t revision : {1, 2, 3}) {
      serving_.AddRevision(std::make_shared<const Snapshot>(Snapshot{Revision(revision), nullptr}));
    }
    options.resolve_revision = [this](Revision revision) { return serving_.Resolve(revision); };
    options.resolve_label = [this](absl::string_view label) { return FindLabel(label); };
    options.tokenizer = &tokenizer_;
    options.scheduler = scheduler_.get();
    options.limits = MakeGenerationLimits(100, 256, tokenizer_);
    options.max_stream_messages = 2;
    service_ = std::make_unique<GenerationService>(options);
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    stub_ = v1::GenerationService::NewStub(server_->InProcessChannel({}));
  }
  ~GenerationServiceTest() override {
    backend_.Open();
    scheduler_->Stop(absl::ZeroDuration());
    server_->Shutdown();
  }

  absl::StatusOr<std::shared_ptr<const Snapshot>> FindLabel(absl::string_view label) {
    if (label != "live") return WithReason(absl::NotFoundError("no label"), "LABEL_NOT_FOUND");
    absl::MutexLock lock(&mutex_);
    return serving_.Resolve(live_);
  }
  void Promote(int64_t revision) {
    absl::MutexLock lock(&mutex_);
    live_ = Revision(revision);
  }
  static v1::GenerateRequest Request(const std::string& prompt, int max_new_tokens) {
    v1::GenerateRequest request;
    request.set_prompt(prompt);
    request.set_max_new_tokens(max_new_tokens);
    return request;
  }
  grpc::Status Generate(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    return stub_->Generate(&context, request, &response_);
  }

  ByteTokenizer tokenizer_;
  FakeDecodeBackend backend_;
  ServingModel serving_{nullptr, std::shared_ptr<const HookStack>()};
  absl::Mutex mutex_;
  Revision live_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<GenerationService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::GenerationService::Stub> stub_;
  v1::GenerateResponse response_;
};

TEST_F(GenerationServiceTest, GenerateAnswersWithTextUsageAndRevision) {
  Promote(1);
  ASSERT_TRUE(Generate(Request("a", 3)).ok());
  EXPECT_EQ(response_.text(), "ceg");
  EXPECT_THAT(response_.token_ids(), ElementsAre('c', 'e', 'g'));
  EXPECT_EQ(response_.revision(), 1);
  EXPECT_EQ(response_.finish_reason(), v1::LENGTH);
  EXPECT_EQ(response_.usage().prompt_tokens(), 1);
  EXPECT_EQ(response_.usage().generated_tokens(), 3);
  EXPECT_GE(response_.timings().total_seconds(), response_.timings().time_to_first_token_seconds());
  EXPECT_THAT(response_.logprobs(), SizeIs(0));
}

TEST_F(GenerationServiceTest, LogprobsComeWhenAskedFor) {
  v1::GenerateRequest request = Request("a", 3);
  request.set_logprobs(true);
  ASSERT_TRUE(Generate(request).ok());
  EXPECT_THAT(response_.logprobs(), SizeIs(3));
}

TEST_F(GenerationServiceTest, ARevisionCanBeChosen) {
  v1::GenerateRequest request = Request("a", 1);
  request.mutable_at()->set_revision(2);
  ASSERT_TRUE(Generate(request).ok());
  EXPECT_EQ(response_.text(), "d");
  EXPECT_EQ(response_.revision(), 2);
}

TEST_F(GenerationServiceTest, AnUnknownRevisionOrLabelIsNotFound) {
  v1::GenerateRequest request = Request("a", 1);
  request.mutable_at()->set_revision(9);
  EXPECT_EQ(ReasonIn(Generate(request)), "REVISION_NOT_FOUND");
  request.mutable_at()->set_label("stable");
  EXPECT_EQ(ReasonIn(Generate(request)), "LABEL_NOT_FOUND");
}

TEST_F(GenerationServiceTest, ALabelBelowTheMinimumIsRefusedWithBothRevisions) {
  Promote(1);
  v1::GenerateRequest request = Request("a", 1);
  request.set_min_revision(2);
  const grpc::Status status = Generate(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(),
              AllOf(HasSubstr("min_revision is 2"), HasSubstr("\"live\" stands at revision 1")));
  EXPECT_EQ(ReasonIn(status), "MIN_REVISION_NOT_REACHED");
  Promote(2);
  EXPECT_TRUE(Generate(request).ok());
}

TEST_F(GenerationServiceTest, AnInvalidRequestIsRefusedWithItsReason) {
  EXPECT_EQ(ReasonIn(Generate(Request("", 1))), "GENERATION_INVALID");
  EXPECT_EQ(ReasonIn(Generate(Request(std::string(101, 'x'), 1))), "PROMPT_TOO_LONG");
}

TEST_F(GenerationServiceTest, TracedFiringsNameTheirToken) {
  v1::GenerateRequest request = Request("ab", 1);
  request.set_trace_hooks(true);
  ASSERT_TRUE(Generate(request).ok());
  ASSERT_THAT(response_.hook_firings(), SizeIs(2));
  EXPECT_EQ(response_.hook_firings(1).token_position(), 1);
}

TEST_F(GenerationServiceTest, AStreamCarriesTheTextTheRevisionFirstAndTheEndLast) {
  Promote(1);
  grpc::ClientContext context;
  const auto reader = stub_->GenerateStream(&context, Request("a", 5));
  std::vector<v1::GenerateStreamResponse> messages;
  v1::GenerateStreamResponse message;
  while (reader->Read(&message)) messages.push_back(message);
  ASSERT_TRUE(reader->Finish().ok());
  ASSERT_THAT(messages, SizeIs(6));
  std::string text;
  for (const auto& m : messages) text += m.text();
  EXPECT_EQ(text, "cegik");
  EXPECT_EQ(messages.front().revision(), 1);
  EXPECT_EQ(messages.front().finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
  EXPECT_EQ(messages.back().revision(), 1);
  EXPECT_EQ(messages.back().finish_reason(), v1::LENGTH);
  EXPECT_EQ(messages.back().usage().generated_tokens(), 5);
  EXPECT_TRUE(messages.back().has_timings());
}

TEST_F(GenerationServiceTest, AStreamKeepsItsRevisionAcrossAPromotion) {
  Promote(1);
  backend_.Close();
  grpc::ClientContext context;
  const auto reader = stub_->GenerateStream(&context, Request("a", 4));
  backend_.AwaitStepAtGate();
  Promote(2);
  backend_.Open();
  std::string text;
  int64_t last_revision = -1;
  v1::GenerateStreamResponse message;
  while (reader->Read(&message)) {
    text += message.text();
    last_revision = message.revision();
  }
  ASSERT_TRUE(reader->Finish().ok());
  EXPECT_EQ(text, "cegi");
  EXPECT_EQ(last_revision, 1);
}

TEST_F(GenerationServiceTest, ARefusedStreamEndsWithTheError) {
  grpc::ClientContext context;
  const auto reader = stub_->GenerateStream(&context, Request("", 4));
  v1::GenerateStreamResponse message;
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(GenerationServiceTest, AStreamThatNobodyReadsPausesAndOthersGoOn) {
  grpc::ClientContext context;
  const auto reader = stub_->GenerateStream(&context, Request("!", 60));
  ASSERT_TRUE(Generate(Request("!", 60)).ok());
  int rows = 0;
  for (const auto& step : backend_.row_sizes()) rows += static_cast<int>(step.size());
  // 60 of the other sequence, and what fits into the stream's queue and the transport.
  EXPECT_LE(rows, 60 + 10);
  std::string text;
  v1::GenerateStreamResponse message;
  while (reader->Read(&message)) text += message.text();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(text.size(), 60u);
}

TEST_F(GenerationServiceTest, ACancelledStreamLeavesTheScheduler) {
  grpc::ClientContext context;
  const auto reader = stub_->GenerateStream(&context, Request("!", 60));
  v1::GenerateStreamResponse message;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(scheduler_->running(), 1);
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  scheduler_->Stop(absl::InfiniteDuration());
  EXPECT_EQ(scheduler_->running(), 0);
}

TEST_F(GenerationServiceTest, APassedDeadlineEndsAStreamThatNobodyReads) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(20));
  const auto reader = stub_->GenerateStream(&context, Request("!", 60));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  scheduler_->Stop(absl::InfiniteDuration());
}

TEST_F(GenerationServiceTest, ScoreAnswersInTheOrderOfTheRequest) {
  v1::ScoreRequest request;
  for (const std::string word : {"x", "yz"}) {
    auto* item = request.add_items();
    item->set_prompt("a");
    item->set_continuation(word);
  }
  request.mutable_at()->set_revision(3);
  v1::ScoreResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->Score(&context, request, &response).ok());
  EXPECT_EQ(response.revision(), 3);
  ASSERT_THAT(response.results(), SizeIs(2));
  EXPECT_THAT(response.results(1).token_ids(), ElementsAre(' ', 'y', 'z'));
  EXPECT_THAT(response.results(1).argmax_ids(), ElementsAre(' ', 'y', 'z'));
  EXPECT_THAT(response.results(1).logprobs(), ElementsAre(-3, -3, -3));
}

TEST_F(GenerationServiceTest, TokenizeGivesIdsAndBytes) {
  v1::TokenizeRequest request;
  request.set_text("hé");
  v1::TokenizeResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->Tokenize(&context, request, &response).ok());
  EXPECT_THAT(response.token_ids(), ElementsAre('h', 0xc3, 0xa9));
  EXPECT_THAT(response.tokens(), ElementsAre("h", "\xc3", "\xa9"));
}

TEST_F(GenerationServiceTest, ADrainingSchedulerMakesRequestsUnavailable) {
  scheduler_->Drain();
  const grpc::Status status = Generate(Request("a", 1));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonIn(status), "DRAINING");
}

TEST_F(GenerationServiceTest, ARunningGenerationEndsWithTheRevisionThatWasPurgedMeanwhile) {
  v1::GenerateRequest request = Request("a", 3);
  request.mutable_at()->set_revision(1);
  backend_.Close();
  grpc::Status status;
  std::thread client([&] { status = Generate(request); });
  backend_.AwaitStepAtGate();
  serving_.SetDeleted(Revision(1), true);
  serving_.Purge(Revision(1));
  backend_.Open();
  client.join();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response_.text(), "ceg");
  EXPECT_EQ(response_.revision(), 1);
  EXPECT_EQ(ReasonIn(Generate(request)), "REVISION_PURGED");
  request.mutable_at()->set_revision(2);
  serving_.SetDeleted(Revision(2), true);
  const grpc::Status deleted = Generate(request);
  EXPECT_EQ(deleted.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ReasonIn(deleted), "REVISION_DELETED");
}

// Whatever it is that a request carries stays in memory until its end.
TEST_F(GenerationServiceTest, TheQueueCountsWholeRequests) {
  v1::GenerateRequest request = Request("a", 1);
  v1::GenerateResponse response;
  for (const size_t bytes : {size_t{100}, size_t{2} << 20}) {
    auto* const unknown = request.GetReflection()->MutableUnknownFields(&request);
    unknown->AddLengthDelimited(1000, std::string(bytes, 'x'));
    grpc::ClientContext context;
    const grpc::Status status = stub_->Generate(&context, request, &response);
    EXPECT_EQ(status.error_code(),
              bytes == 100 ? grpc::StatusCode::OK : grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(ReasonIn(status), bytes == 100 ? "" : "QUEUE_FULL");
  }
}

}  // namespace
}  // namespace amend
