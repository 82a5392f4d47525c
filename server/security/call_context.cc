#include "server/security/call_context.h"

namespace amend {
namespace {

class Allocator final : public grpc::ContextAllocator {
 public:
  grpc::CallbackServerContext* NewCallbackServerContext() override { return new CallContext; }
  // Also called for contexts that gRPC made itself, those of methods that do not exist, and ends.
  void Release(grpc::CallbackServerContext* context) override {
    delete dynamic_cast<CallContext*>(context);
  }
};

const CallContext* AsCallContext(const grpc::CallbackServerContext& context) {
  return dynamic_cast<const CallContext*>(&context);
}

}  // namespace

std::unique_ptr<grpc::ContextAllocator> MakeCallContextAllocator() {
  return std::make_unique<Allocator>();
}

absl::Status AdmissionOf(const grpc::CallbackServerContext& context) {
  const CallContext* const call = AsCallContext(context);
  return call == nullptr ? CallContext().caller.status() : call->caller.status();
}

Caller* CallerOf(const grpc::CallbackServerContext& context) {
  const CallContext* const call = AsCallContext(context);
  return call == nullptr || !call->caller.ok() ? nullptr : call->caller->get();
}

std::string ActorOf(const grpc::CallbackServerContext& context) {
  const Caller* const caller = CallerOf(context);
  return caller == nullptr ? context.peer() : caller->name();
}

std::string PrincipalOf(const grpc::CallbackServerContext& context) {
  const Caller* const caller = CallerOf(context);
  return caller == nullptr ? "" : caller->principal();
}

std::string TraceIdOf(const grpc::CallbackServerContext& context) {
  const CallContext* const call = AsCallContext(context);
  return call == nullptr ? "" : call->trace_id;
}

}  // namespace amend
