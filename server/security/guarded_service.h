#ifndef AMEND_SERVER_SECURITY_GUARDED_SERVICE_H_
#define AMEND_SERVER_SECURITY_GUARDED_SERVICE_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/impl/rpc_service_method.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/support/server_callback.h"
#include "server/errors.h"
#include "server/out_of_memory.h"
#include "server/security/call_context.h"
#include "server/security/cancellable_stream.h"

namespace amend {

// A stream that ends as it begins, with `status`.
template <typename Response>
class RefusedWrites final : public grpc::ServerWriteReactor<Response> {
 public:
  explicit RefusedWrites(const absl::Status& status) { this->Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};
template <typename Request, typename Response>
class RefusedExchange final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit RefusedExchange(const absl::Status& status) { this->Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

// What a gRPC server registers in the place of a service: its RPCs, each behind the same check. A
// call whose context was not admitted (see call_context.h) ends with the reason and never reaches
// the service; one for which the service finds no memory ends with RESOURCE_EXHAUSTED
// (OUT_OF_MEMORY); an RPC that is not added does not exist. A stream whose reactor is a
// CancellableStream ends with the reason once its caller is revoked. Thread-safe once all are
// added; the services outlive it.
//
// gRPC C++ has no public way to end a call before its service's method, for an interceptor cannot.
// This registers methods as generated services do.
class GuardedService final : public grpc::Service {
 public:
  // `path` is "/amend.v1.EditService/StreamEdits" and a literal.
  template <typename Service, typename Base, typename Request, typename Response>
  void Add(const char* path, Service* service,
           grpc::ServerUnaryReactor* (Base::*method)(grpc::CallbackServerContext*, const Request*,
                                                     Response*)) {
    AddHandler(path, grpc::internal::RpcMethod::NORMAL_RPC,
               new grpc::internal::CallbackUnaryHandler<Request, Response>(
                   [service, method](grpc::CallbackServerContext* context, const Request* request,
                                     Response* response) {
                     grpc::ServerUnaryReactor* reactor = nullptr;
                     const absl::Status begun = Begin(*context, [&] {
                       reactor = (service->*method)(context, request, response);
                     });
                     if (begun.ok()) return reactor;
                     reactor = context->DefaultReactor();
                     reactor->Finish(ToGrpcStatus(begun));
                     return reactor;
                   }));
  }

  template <typename Service, typename Base, typename Request, typename Response>
  void Add(const char* path, Service* service,
           grpc::ServerWriteReactor<Response>* (Base::*method)(grpc::CallbackServerContext*,
                                                               const Request*)) {
    AddHandler(
        path, grpc::internal::RpcMethod::SERVER_STREAMING,
        new grpc::internal::CallbackServerStreamingHandler<Request, Response>(
            [service, method](grpc::CallbackServerContext* context,
                              const Request* request) -> grpc::ServerWriteReactor<Response>* {
              grpc::ServerWriteReactor<Response>* reactor = nullptr;
              const absl::Status begun =
                  Begin(*context, [&] { reactor = (service->*method)(context, request); });
              if (begun.ok()) return CancelWhenRevoked(*context, reactor);
              return new RefusedWrites<Response>(begun);
            }));
  }

  template <typename Service, typename Base, typename Request, typename Response>
  void Add(
      const char* path, Service* service,
      grpc::ServerBidiReactor<Request, Response>* (Base::*method)(grpc::CallbackServerContext*)) {
    AddHandler(path, grpc::internal::RpcMethod::BIDI_STREAMING,
               new grpc::internal::CallbackBidiHandler<Request, Response>(
                   [service, method](grpc::CallbackServerContext* context)
                       -> grpc::ServerBidiReactor<Request, Response>* {
                     grpc::ServerBidiReactor<Request, Response>* reactor = nullptr;
                     const absl::Status begun =
                         Begin(*context, [&] { reactor = (service->*method)(context); });
                     if (begun.ok()) return CancelWhenRevoked(*context, reactor);
                     return new RefusedExchange<Request, Response>(begun);
                   }));
  }

 private:
  // gRPC does not have the reactor yet, so it is there.
  template <typename Reactor>
  static Reactor* CancelWhenRevoked(const grpc::CallbackServerContext& context, Reactor* reactor) {
    auto* const stream = dynamic_cast<CancellableStream*>(reactor);
    Caller* const caller = CallerOf(context);
    if (stream != nullptr && caller != nullptr) caller->CancelWhenRevoked(stream->Canceller());
    return reactor;
  }

  // Has the service begin a call that was admitted. gRPC would take an exception for a method that
  // does not exist.
  static absl::Status Begin(const grpc::CallbackServerContext& context,
                            absl::FunctionRef<void()> call) {
    absl::Status admitted = AdmissionOf(context);
    if (!admitted.ok()) return admitted;
    return CatchOutOfMemory("taking a call", [&] {
      call();
      return absl::OkStatus();
    });
  }

  void AddHandler(const char* path, grpc::internal::RpcMethod::RpcType type,
                  grpc::internal::MethodHandler* handler) {
    AddMethod(new grpc::internal::RpcServiceMethod(path, type, nullptr));
    MarkMethodCallback(count_++, handler);
  }

  int count_ = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_GUARDED_SERVICE_H_
