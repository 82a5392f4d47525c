#include "server/security/access_interceptor.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "amend/v1/admin.grpc.pb.h"
#include "core/base/digest.h"
#include "core/base/testing/status_matchers.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/security/call_context.h"
#include "server/security/cancellable_stream.h"
#include "server/security/guarded_service.h"

namespace amend {
namespace {

using Admin = v1::AdminService::CallbackService;

// Says one thing and goes on until it is cancelled.
class Endless final : public grpc::ServerWriteReactor<v1::VerifyStoreResponse>,
                      public CancellableStream,
                      public std::enable_shared_from_this<Endless> {
 public:
  static Endless* Create() {
    const auto stream = std::make_shared<Endless>();
    stream->self_ = stream;
    stream->StartWrite(&stream->response_);
    return stream.get();
  }
  void OnCancel() override {
    if (!finished_.exchange(true)) Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { const std::shared_ptr<Endless> self = std::move(self_); }
  std::function<void()> Canceller() override { return CancellerOf(weak_from_this()); }

 private:
  v1::VerifyStoreResponse response_;
  std::atomic<bool> finished_ = false;
  std::shared_ptr<Endless> self_;
};

// Fails, so that its status can be told from a refusal.
class Failing final : public Admin {
 public:
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* /*request*/,
                                          v1::ServerInfo* /*response*/) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status(grpc::StatusCode::DATA_LOSS, ActorOf(*context)));
    return reactor;
  }
  grpc::ServerWriteReactor<v1::VerifyStoreResponse>* VerifyStore(
      grpc::CallbackServerContext* /*context*/,
      const v1::VerifyStoreRequest* /*request*/) override {
    return Endless::Create();
  }
};

// A stream of a client's, whose first message has come.
class Stream {
 public:
  Stream(int port, const std::string& authorization) {
    v1::AdminService::Stub stub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
    context_.AddMetadata("authorization", authorization);
    reader_ = stub.VerifyStore(&context_, {});
    v1::VerifyStoreResponse response;
    EXPECT_TRUE(reader_->Read(&response));
  }
  // Waits for its end.
  grpc::Status End() {
    v1::VerifyStoreResponse response;
    EXPECT_FALSE(reader_->Read(&response));
    return reader_->Finish();
  }
  void Cancel() { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::VerifyStoreResponse>> reader_;
};

class AccessInterceptorTest : public testing::Test {
 protected:
  AccessInterceptorTest() {
    guarded_.Add("/amend.v1.AdminService/GetServerInfo", static_cast<Admin*>(&service_),
                 &Admin::GetServerInfo);
    guarded_.Add("/amend.v1.AdminService/VerifyStore", static_cast<Admin*>(&service_),
                 &Admin::VerifyStore);
    SetPolicy(Principal("admin", "ADMIN", "a"));
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&guarded_);
    builder.SetContextAllocator(MakeCallContextAllocator());
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
    creators.push_back(MakeAccessFactory(&authorizer_));
    builder.experimental().SetInterceptorCreators(std::move(creators));
    server_ = builder.BuildAndStart();
  }

  static std::string Principal(const std::string& name, const std::string& role,
                               const std::string& token) {
    return absl::StrCat("principals { name: '", name, "' roles: ", role, " token_sha256: '",
                        Sha256Hex(token), "' } ");
  }
  void SetPolicy(const std::string& text) {
    AMEND_ASSERT_OK_AND_ASSIGN(auto policy, AccessPolicy::Parse("policy", text));
    authorizer_.SetPolicy(std::move(policy));
  }

  grpc::Status Call(const std::vector<std::string>& authorizations) {
    v1::AdminService::Stub stub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port_), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    for (const std::string& value : authorizations) context.AddMetadata("authorization", value);
    v1::ServerInfo response;
    return stub.GetServerInfo(&context, {}, &response);
  }

  Failing service_;
  GuardedService guarded_;
  Authorizer authorizer_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(AccessInterceptorTest, TheCallersCredentialsAreThoseOfTheMetadata) {
  const grpc::Status status = Call({"Bearer a"});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(status.error_message(), "admin");
}

TEST_F(AccessInterceptorTest, TwoAuthorizationsAreOneThatNobodyHas) {
  EXPECT_EQ(Call({"Bearer a", "Bearer a"}).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(AccessInterceptorTest, AStreamEndsWithWhatANewCallGetsAndThoseOfOthersGoOn) {
  SetPolicy(Principal("leaves", "ADMIN", "l") + Principal("changes", "ADMIN", "c") +
            Principal("stays", "ADMIN", "s"));
  Stream leaves(port_, "Bearer l");
  Stream changes(port_, "Bearer c");
  Stream stays(port_, "Bearer s");
  SetPolicy(Principal("changes", "READER", "c") + Principal("stays", "ADMIN", "s"));
  const grpc::Status unknown = leaves.End();
  const grpc::Status as_new = Call({"Bearer l"});
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(unknown.error_message(), as_new.error_message());
  EXPECT_EQ(unknown.error_details(), as_new.error_details());
  const grpc::Status denied = changes.End();
  EXPECT_EQ(denied.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ReasonOf(denied), "ROLE_MISSING");
  SetPolicy(Principal("admin", "ADMIN", "a") + Principal("stays", "ADMIN", "s"));
  stays.Cancel();
  EXPECT_EQ(stays.End().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(AccessInterceptorTest, WithoutCredentialsTheServicesStatusIsNotTold) {
  EXPECT_EQ(Call({}).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

}  // namespace
}  // namespace amend
