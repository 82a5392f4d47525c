#ifndef AMEND_SERVER_RPC_LOG_H_
#define AMEND_SERVER_RPC_LOG_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "grpcpp/support/server_interceptor.h"
#include "server/event_log.h"

namespace amend {

// Gives every RPC of a server its place in a trace and writes one event about it at its end.
//
// - The trace is the one that the caller's metadata names (`traceparent`, W3C Trace Context);
// without
//   it, or where it is malformed, a new one. Initial and trailing metadata of the answer have
//   `traceparent` with this RPC's own span.
// - The trace's id is in the call's CallContext before the service sees the call.
// - The event is "rpc" with trace_id, span_id, method, code, seconds and, where the answer names
// one,
//   revision and reason: at kAccess, at kError for INTERNAL, UNKNOWN and DATA_LOSS. No payload; the
//   error's message, which may quote the request, at kDebug alone.
//
// `log` outlives the server; `random` gives 64 random bits and is thread-safe. Has to come after
// interceptors that change the status. Thread-safe.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeRpcLogFactory(
    EventLog* log, std::function<uint64_t()> random);

// Random bits from the system, for one thread after the other. Thread-safe.
uint64_t RandomBits();

}  // namespace amend

#endif  // AMEND_SERVER_RPC_LOG_H_
