#ifndef AMEND_SERVER_UNREADABLE_REQUEST_H_
#define AMEND_SERVER_UNREADABLE_REQUEST_H_

#include <memory>

#include "grpcpp/support/server_interceptor.h"

namespace amend {

// Answers a request whose bytes are not the message that its method takes (cut off, of another
// type, a string that is not UTF-8) with INVALID_ARGUMENT, reason INVALID_REQUEST, naming that
// message. gRPC itself says UNIMPLEMENTED and nothing else. Has to come before interceptors that
// look at the status. Thread-safe.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>
MakeUnreadableRequestFactory();

}  // namespace amend

#endif  // AMEND_SERVER_UNREADABLE_REQUEST_H_
