#include "server/security/access_interceptor.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "amend/v1/admin.grpc.pb.h"
#include "core/base/digest.h"
#include "core/base/testing/status_matchers.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "server/security/call_context.h"
#include "server/security/guarded_service.h"

namespace amend {
namespace {

using Admin = v1::AdminService::CallbackService;

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
};

class AccessInterceptorTest : public testing::Test {
 protected:
  AccessInterceptorTest() {
    guarded_.Add("/amend.v1.AdminService/GetServerInfo", static_cast<Admin*>(&service_),
                 &Admin::GetServerInfo);
    auto policy = AccessPolicy::Parse(
        "policy", absl::StrCat("principals { name: 'admin' roles: ADMIN token_sha256: '",
                               Sha256Hex("a"), "' }"));
    authorizer_.SetPolicy(*std::move(policy));
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&guarded_);
    builder.SetContextAllocator(MakeCallContextAllocator());
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
    creators.push_back(MakeAccessFactory(&authorizer_));
    builder.experimental().SetInterceptorCreators(std::move(creators));
    server_ = builder.BuildAndStart();
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

TEST_F(AccessInterceptorTest, WithoutCredentialsTheServicesStatusIsNotTold) {
  EXPECT_EQ(Call({}).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

}  // namespace
}  // namespace amend
