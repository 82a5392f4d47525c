#ifndef AMEND_SERVER_SECURITY_CALL_CONTEXT_H_
#define AMEND_SERVER_SECURITY_CALL_CONTEXT_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/grpcpp.h"
#include "server/security/caller.h"

namespace amend {

// The context of one call, which knows who makes it. gRPC makes and ends it, through the allocator
// below. What admits calls sets `caller` before the service sees the call; it does not change after
// that.
class CallContext final : public grpc::CallbackServerContext {
 public:
  // An error: the call is refused with it.
  absl::StatusOr<std::unique_ptr<Caller>> caller =
      absl::InternalError("nothing has said whether this call may begin");
  // Of the trace that the call belongs to. Set before the service sees the call, where RPCs are
  // traced; it does not change after that.
  std::string trace_id;
};

// For grpc::ServerBuilder::SetContextAllocator: all contexts of that server are CallContexts.
std::unique_ptr<grpc::ContextAllocator> MakeCallContextAllocator();

// OK, or why a call is refused. A context that is no CallContext is refused. Thread-safe.
absl::Status AdmissionOf(const grpc::CallbackServerContext& context);

// Who makes a call that was admitted, until its context ends; null on a server that asks nothing (a
// context that is no CallContext). Thread-safe.
Caller* CallerOf(const grpc::CallbackServerContext& context);

// Who makes a call, for the audit trail: the caller's name, else the peer's address. Thread-safe.
std::string ActorOf(const grpc::CallbackServerContext& context);

// The principal that makes a call; empty on a server that asks nobody. Thread-safe.
std::string PrincipalOf(const grpc::CallbackServerContext& context);

// The id of the trace that a call belongs to; empty on a server that traces none. Thread-safe.
std::string TraceIdOf(const grpc::CallbackServerContext& context);

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_CALL_CONTEXT_H_
