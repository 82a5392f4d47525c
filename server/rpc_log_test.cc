#include "server/rpc_log.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "amend/v1/generation.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/impl/codegen/client_unary_call.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/trace_context.h"
#include "server/unreadable_request.h"

namespace amend {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kCaller[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

// Answers with `status` and, where it is OK, with revision 7.
class AnsweringService final : public v1::GenerationService::CallbackService {
 public:
  grpc::ServerUnaryReactor* Generate(grpc::CallbackServerContext* context,
                                     const v1::GenerateRequest*,
                                     v1::GenerateResponse* response) override {
    response->set_revision(7);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(status);
    return reactor;
  }
  grpc::ServerWriteReactor<v1::GenerateStreamResponse>* GenerateStream(
      grpc::CallbackServerContext*, const v1::GenerateRequest*) override {
    class Stream final : public grpc::ServerWriteReactor<v1::GenerateStreamResponse> {
     public:
      Stream() {
        messages_[0].set_revision(7);
        messages_[1].set_text("more");
        StartWrite(&messages_[0]);
      }
      void OnWriteDone(bool /*ok*/) override {
        if (++written_ < 2) return StartWrite(&messages_[written_]);
        Finish(grpc::Status::OK);
      }
      void OnDone() override { delete this; }

     private:
      v1::GenerateStreamResponse messages_[2];
      int written_ = 0;
    };
    return new Stream;
  }
  grpc::Status status;
};

class RpcLogTest : public ::testing::Test {
 protected:
  RpcLogTest() {
    EventLog::Options options;
    options.format = LogFormat::kJson;
    options.level = LogLevel::kAccess;
    options.write = [this](absl::string_view line) { lines_.push_back(Json::parse(line)); };
    log_ = std::make_unique<EventLog>(options);
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
    creators.push_back(MakeUnreadableRequestFactory());
    creators.push_back(MakeRpcLogFactory(log_.get(), RandomBits));
    builder.experimental().SetInterceptorCreators(std::move(creators));
    server_ = builder.BuildAndStart();
    channel_ = server_->InProcessChannel({});
  }
  ~RpcLogTest() override { End(); }

  // What was logged; the server has ended then.
  const std::vector<Json>& End() {
    if (server_ != nullptr) server_->Shutdown();
    server_.reset();
    log_.reset();
    return lines_;
  }
  static std::string TraceIn(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
    const auto found = metadata.find("traceparent");
    if (found == metadata.end() || metadata.count("traceparent") != 1) return "";
    const auto context = ParseTraceparent({found->second.data(), found->second.size()});
    return context ? context->trace_id : "malformed";
  }
  // Calls Generate; both ends of the answer name the same trace, which it returns.
  std::string Generate(const std::string& traceparent) {
    grpc::ClientContext context;
    if (!traceparent.empty()) context.AddMetadata("traceparent", traceparent);
    v1::GenerateResponse response;
    v1::GenerationService::NewStub(channel_)->Generate(&context, {}, &response);
    const std::string trace = TraceIn(context.GetServerTrailingMetadata());
    EXPECT_EQ(TraceIn(context.GetServerInitialMetadata()), trace);
    return trace;
  }

  AnsweringService service_;
  std::vector<Json> lines_;
  std::unique_ptr<EventLog> log_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(RpcLogTest, AnRpcStaysInItsCallersTraceWithASpanOfItsOwn) {
  EXPECT_EQ(Generate(kCaller), kTrace);
  const Json line = End().at(0);
  EXPECT_EQ(line["event"], "rpc");
  EXPECT_EQ(line["severity"], "ACCESS");
  EXPECT_EQ(line["trace_id"], kTrace);
  EXPECT_NE(line["span_id"], "00f067aa0ba902b7");
  EXPECT_EQ(line["method"], "/amend.v1.GenerationService/Generate");
  EXPECT_EQ(line["code"], "OK");
  EXPECT_EQ(line["revision"], 7);
  EXPECT_GE(line["seconds"].get<double>(), 0);
}

TEST_F(RpcLogTest, WithoutATraceOrWithAMalformedOneANewOneBegins) {
  const std::string first = Generate("");
  const std::string second = Generate("00-nonsense-01");
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(second.size(), 32u);
  EXPECT_NE(first, second);
  EXPECT_EQ(End().at(0)["trace_id"], first);
  EXPECT_EQ(lines_.at(1)["trace_id"], second);
}

TEST_F(RpcLogTest, AnErrorHasItsTraceCodeAndReasonAndNoMessage) {
  service_.status =
      ToGrpcStatus(WithReason(absl::InvalidArgumentError("a secret prompt"), "GENERATION_INVALID"));
  EXPECT_EQ(Generate(kCaller), kTrace);
  const Json line = End().at(0);
  EXPECT_EQ(line["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(line["reason"], "GENERATION_INVALID");
  EXPECT_THAT(line.dump(), Not(HasSubstr("secret")));
}

TEST_F(RpcLogTest, TheMessageOfAnErrorIsForDebugging) {
  log_->SetLevel(LogLevel::kDebug);
  service_.status = grpc::Status(grpc::StatusCode::NOT_FOUND, "no such thing");
  Generate("");
  EXPECT_EQ(End().at(0)["message"], "no such thing");
}

TEST_F(RpcLogTest, WhatWentWrongInTheServerIsAnErrorAtEveryLevel) {
  log_->SetLevel(LogLevel::kError);
  Generate("");
  service_.status = grpc::Status(grpc::StatusCode::INTERNAL, "x");
  Generate("");
  ASSERT_EQ(End().size(), 1u);
  EXPECT_EQ(lines_[0]["severity"], "ERROR");
}

TEST_F(RpcLogTest, AStreamHasTheRevisionOfItsFirstMessage) {
  grpc::ClientContext context;
  context.AddMetadata("traceparent", kCaller);
  const auto stream = v1::GenerationService::NewStub(channel_)->GenerateStream(&context, {});
  v1::GenerateStreamResponse message;
  while (stream->Read(&message)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(TraceIn(context.GetServerInitialMetadata()), kTrace);
  EXPECT_EQ(TraceIn(context.GetServerTrailingMetadata()), kTrace);
  EXPECT_EQ(End().at(0)["revision"], 7);
}

TEST_F(RpcLogTest, AMethodThatDoesNotExistIsNotQuoted) {
  const grpc::internal::RpcMethod method("/evil.Service/Random123",
                                         grpc::internal::RpcMethod::NORMAL_RPC);
  grpc::ClientContext context;
  v1::GenerateResponse response;
  grpc::internal::BlockingUnaryCallImpl<v1::GenerateRequest, v1::GenerateResponse>(
      channel_.get(), method, &context, v1::GenerateRequest(), &response);
  for (const Json& line : End()) EXPECT_THAT(line.dump(), Not(HasSubstr("Random123")));
}

}  // namespace
}  // namespace amend
