#include "server/rpc_metrics.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "google/protobuf/descriptor.h"
#include "server/rpc_method.h"

namespace amend {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

absl::string_view TypeName(ServerRpcInfo::Type type) {
  switch (type) {
    case ServerRpcInfo::Type::UNARY:
      return "unary";
    case ServerRpcInfo::Type::CLIENT_STREAMING:
      return "client_stream";
    case ServerRpcInfo::Type::SERVER_STREAMING:
      return "server_stream";
    case ServerRpcInfo::Type::BIDI_STREAMING:
      return "bidi_stream";
  }
  return "unknown";
}

// One RPC. gRPC calls it from one thread at a time and deletes it at the end.
class RpcMetricsInterceptor final : public grpc::experimental::Interceptor {
 public:
  RpcMetricsInterceptor(Metrics* metrics, const ServerRpcInfo& info)
      : metrics_(metrics), type_(TypeName(info.type())), start_(absl::Now()) {
    // A client may call what it likes; only names that exist become label values.
    if (const google::protobuf::MethodDescriptor* method = FindRpcMethod(info.method())) {
      service_ = method->service()->full_name();
      method_ = method->name();
    }
    metrics_->RpcStarted(type_, service_, method_);
  }
  ~RpcMetricsInterceptor() override {
    metrics_->RpcHandled(type_, service_, method_, absl::StatusCodeToString(code_),
                         absl::Now() - start_);
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      code_ = static_cast<absl::StatusCode>(methods->GetSendStatus().error_code());
    }
    methods->Proceed();
  }

 private:
  Metrics* const metrics_;
  const absl::string_view type_;
  const absl::Time start_;
  std::string service_ = "unknown";
  std::string method_ = "unknown";
  // Of an RPC that ends without a status: its client went away.
  absl::StatusCode code_ = absl::StatusCode::kCancelled;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(Metrics* metrics) : metrics_(metrics) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new RpcMetricsInterceptor(metrics_, *info);
  }

 private:
  Metrics* const metrics_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeRpcMetricsFactory(
    Metrics* metrics) {
  return std::make_unique<Factory>(metrics);
}

}  // namespace amend
