#include "server/unreadable_request.h"

#include <string>
#include <utility>
#include <vector>

#include "amend/v1/admin.grpc.pb.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::HasSubstr;

class AnsweringService final : public v1::AdminService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest*,
                                          v1::ServerInfo*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

// What a server says to a unary call of `method` with these bytes.
grpc::Status Call(const std::string& method, const std::string& bytes) {
  AnsweringService service;
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
  creators.push_back(MakeUnreadableRequestFactory());
  builder.experimental().SetInterceptorCreators(std::move(creators));
  const auto server = builder.BuildAndStart();
  grpc::GenericStub stub(server->InProcessChannel({}));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(bytes);
  const auto call = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue.Next(&tag, &ok));
  queue.Shutdown();
  return status;
}

constexpr char kMethod[] = "/amend.v1.AdminService/GetServerInfo";

TEST(UnreadableRequestTest, BytesThatAreNoMessageAreNamedAfterTheMessageTheyShouldBe) {
  const grpc::Status status = Call(kMethod, "\xff\xff");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("amend.v1.GetServerInfoRequest"));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::ErrorInfo info;
  ASSERT_EQ(details.details_size(), 1);
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "INVALID_REQUEST");
}

TEST(UnreadableRequestTest, ARequestThatIsReadableGoesThrough) {
  EXPECT_TRUE(Call(kMethod, "").ok());
}

TEST(UnreadableRequestTest, AMethodThatDoesNotExistStaysUnimplemented) {
  EXPECT_EQ(Call("/amend.v1.AdminService/Nothing", "").error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace amend
