#include "server/security/access_interceptor.h"

#include <optional>
#include <string>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "server/errors.h"
#include "server/rpc_method.h"
#include "server/security/call_context.h"

namespace amend {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

// Names that gRPC gives to what a certificate says.
constexpr char kUri[] = "peer_uri";
constexpr char kDns[] = "peer_dns";
constexpr char kCommonName[] = "x509_common_name";

std::vector<std::string> Values(const grpc::AuthContext& auth, const char* name) {
  std::vector<std::string> values;
  for (const grpc::string_ref& value : auth.FindPropertyValues(name)) {
    values.emplace_back(value.data(), value.size());
  }
  return values;
}

CallCredentials CredentialsOf(const CallContext& context) {
  CallCredentials credentials;
  credentials.peer = context.peer();
  const auto [first, last] = context.client_metadata().equal_range("authorization");
  for (auto it = first; it != last; ++it) {
    // Two of them are one that nobody has.
    if (credentials.authorization.has_value()) {
      credentials.authorization = "";
      break;
    }
    credentials.authorization = std::string(it->second.data(), it->second.size());
  }
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  if (auth == nullptr || !auth->IsPeerAuthenticated()) return credentials;
  credentials.certificate.uris = Values(*auth, kUri);
  credentials.certificate.dns_names = Values(*auth, kDns);
  const std::vector<std::string> common = Values(*auth, kCommonName);
  if (!common.empty()) credentials.certificate.common_name = common.front();
  return credentials;
}

// One RPC. gRPC calls it from one thread at a time and deletes it at the end, with the context.
class AccessInterceptor final : public grpc::experimental::Interceptor {
 public:
  AccessInterceptor(Authorizer* authorizer, ServerRpcInfo& info)
      : context_(dynamic_cast<CallContext*>(info.server_context())) {
    // Without a CallContext it is a method that this server does not have, though another may; gRPC
    // itself says UNIMPLEMENTED of both.
    if (context_ == nullptr || FindRpcMethod(info.method()) == nullptr) return;
    context_->caller = authorizer->Admit(CredentialsOf(*context_), info.method());
    refusal_ = context_->caller.status();
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      const absl::Status why = Refusal();
      if (!why.ok()) methods->ModifySendStatus(ToGrpcStatus(why));
      // Before the client can know that the call has ended.
      if (context_ != nullptr && context_->caller.ok()) (*context_->caller)->End();
    }
    methods->Proceed();
  }

 private:
  // What the client is told whatever the service says; OK where there is no such thing.
  absl::Status Refusal() const {
    if (context_ == nullptr || !context_->caller.ok()) return refusal_;
    return (*context_->caller)->revoked();
  }

  CallContext* const context_;
  absl::Status refusal_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(Authorizer* authorizer) : authorizer_(authorizer) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new AccessInterceptor(authorizer_, *info);
  }

 private:
  Authorizer* const authorizer_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeAccessFactory(
    Authorizer* authorizer) {
  return std::make_unique<Factory>(authorizer);
}

}  // namespace amend
