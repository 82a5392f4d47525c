#ifndef AMEND_SERVER_SECURITY_ACCESS_INTERCEPTOR_H_
#define AMEND_SERVER_SECURITY_ACCESS_INTERCEPTOR_H_

#include <memory>

#include "grpcpp/support/server_interceptor.h"
#include "server/security/authorizer.h"

namespace amend {

// Has the authorizer decide on every call of a server, with the call's certificate and metadata,
// and leaves the decision in its CallContext, where GuardedService looks before a service sees the
// call. A call that is refused ends with the authorizer's status, whatever else was found wrong
// with it; so does one that was cancelled because its caller was revoked. Interceptors that look at
// the status come after this one. `authorizer` outlives the server. Thread-safe.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeAccessFactory(
    Authorizer* authorizer);

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_ACCESS_INTERCEPTOR_H_
