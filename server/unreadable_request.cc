#include "server/unreadable_request.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "grpcpp/generic/async_generic_service.h"
#include "server/errors.h"
#include "server/rpc_method.h"

namespace amend {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

// What the method "/amend.v1.GenerationService/Generate" takes; null for one that does not exist.
const google::protobuf::Descriptor* InputOf(const char* path) {
  const google::protobuf::MethodDescriptor* const method = FindRpcMethod(path);
  return method == nullptr ? nullptr : method->input_type();
}

// gRPC's own context, of a method that no service of this server has.
bool IsUnregistered(ServerRpcInfo& info) {
  return dynamic_cast<grpc::GenericCallbackServerContext*>(info.server_context()) != nullptr;
}

// One RPC. gRPC calls it from one thread at a time and deletes it at the end.
class UnreadableRequestInterceptor final : public grpc::experimental::Interceptor {
 public:
  explicit UnreadableRequestInterceptor(ServerRpcInfo& info)
      : input_(IsUnregistered(info) ? nullptr : InputOf(info.method())) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      const grpc::Status status = methods->GetSendStatus();
      // Our services implement all their methods.
      if (input_ != nullptr && status.error_code() == grpc::StatusCode::UNIMPLEMENTED &&
          status.error_message().empty()) {
        methods->ModifySendStatus(ToGrpcStatus(
            WithReason(absl::InvalidArgumentError(absl::StrCat(
                           "the request is not readable as ", input_->full_name(),
                           ": its bytes are no message of this type, or a string is not UTF-8")),
                       "INVALID_REQUEST", {{"message", input_->full_name()}})));
      }
    }
    methods->Proceed();
  }

 private:
  const google::protobuf::Descriptor* const input_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new UnreadableRequestInterceptor(*info);
  }
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>
MakeUnreadableRequestFactory() {
  return std::make_unique<Factory>();
}

}  // namespace amend
