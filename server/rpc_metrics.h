#ifndef AMEND_SERVER_RPC_METRICS_H_
#define AMEND_SERVER_RPC_METRICS_H_

#include <memory>

#include "grpcpp/support/server_interceptor.h"
#include "server/metrics.h"

namespace amend {

// Counts and times every RPC of a server (grpc_server_*). `metrics` outlives the server.
// Thread-safe.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeRpcMetricsFactory(
    Metrics* metrics);

}  // namespace amend

#endif  // AMEND_SERVER_RPC_METRICS_H_
