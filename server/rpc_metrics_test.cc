#include "server/rpc_metrics.h"

#include <utility>
#include <vector>

#include "amend/v1/admin.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/impl/codegen/client_unary_call.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class AnsweringService final : public v1::AdminService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest*,
                                          v1::ServerInfo*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(status);
    return reactor;
  }
  grpc::Status status;
};

grpc::Status CallUnknown(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
                         grpc::ClientContext* context) {
  const grpc::internal::RpcMethod method(path.c_str(), grpc::internal::RpcMethod::NORMAL_RPC);
  v1::ServerInfo info;
  return grpc::internal::BlockingUnaryCallImpl<v1::GetServerInfoRequest, v1::ServerInfo>(
             channel.get(), method, context, v1::GetServerInfoRequest(), &info)
      .status();
}

// One RPC that ends with `status` (and one of `unknown_method`, where given), and the metrics after
// the server's end.
std::string TextAfterOneRpc(const grpc::Status& status, const std::string& unknown_method = "") {
  Metrics metrics;
  AnsweringService service;
  service.status = status;
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
  creators.push_back(MakeRpcMetricsFactory(&metrics));
  builder.experimental().SetInterceptorCreators(std::move(creators));
  auto server = builder.BuildAndStart();
  const auto channel = server->InProcessChannel({});
  const auto stub = v1::AdminService::NewStub(channel);
  grpc::ClientContext context;
  v1::ServerInfo info;
  EXPECT_EQ(stub->GetServerInfo(&context, {}, &info).error_code(), status.error_code());
  if (!unknown_method.empty()) {
    grpc::ClientContext unknown_context;
    EXPECT_EQ(CallUnknown(channel, unknown_method, &unknown_context).error_code(),
              grpc::StatusCode::UNIMPLEMENTED);
  }
  server->Shutdown();
  server.reset();
  return metrics.Text(absl::UnixEpoch());
}

TEST(RpcMetricsTest, AnAnsweredRpcIsCountedAsOk) {
  const std::string text = TextAfterOneRpc(grpc::Status::OK);
  EXPECT_THAT(text, HasSubstr("grpc_server_started_total{grpc_method=\"GetServerInfo\","
                              "grpc_service=\"amend.v1.AdminService\",grpc_type=\"unary\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("grpc_server_handled_total{grpc_code=\"OK\","));
}

TEST(RpcMetricsTest, AMethodThatDoesNotExistGetsNoLabelOfItsOwn) {
  const std::string text = TextAfterOneRpc(grpc::Status::OK, "/evil.Service/Random123");
  EXPECT_THAT(text, Not(HasSubstr("Random123")));
  EXPECT_THAT(text, Not(HasSubstr("evil")));
  EXPECT_THAT(text, HasSubstr("grpc_service=\"unknown\""));
}

TEST(RpcMetricsTest, AFailedRpcIsCountedWithItsCode) {
  EXPECT_THAT(TextAfterOneRpc(grpc::Status(grpc::StatusCode::NOT_FOUND, "x")),
              HasSubstr("grpc_server_handled_total{grpc_code=\"NOT_FOUND\","));
}

}  // namespace
}  // namespace amend
