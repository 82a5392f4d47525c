#ifndef AMEND_SERVER_CONSOLE_HTTP_ERRORS_H_
#define AMEND_SERVER_CONSOLE_HTTP_ERRORS_H_

#include "absl/status/status.h"
#include "grpcpp/support/status.h"
#include "server/http_message.h"

namespace amend {

// An error as JSON: {"error": {"code": 404, "status": "NOT_FOUND", "message": ..., "reason": ...,
// "metadata": {...}}}, with the HTTP status that google/rpc/code.proto gives for its code, and
// Retry-After where the error has a RetryInfo. `status` is not OK. Pure functions.
HttpReply ErrorReply(const grpc::Status& status);
HttpReply ErrorReply(const absl::Status& status);

}  // namespace amend

#endif  // AMEND_SERVER_CONSOLE_HTTP_ERRORS_H_
