#ifndef AMEND_SERVER_SECURITY_LISTENER_CHECK_H_
#define AMEND_SERVER_SECURITY_LISTENER_CHECK_H_

#include <string>

#include "absl/status/status.h"
#include "server/security/security_options.h"

namespace amend {

// FAILED_PRECONDITION, naming the flag and what is missing, where options do not fit each other (a
// certificate without its key) or where an address of gRPC that other machines reach would be
// listened on without TLS or without a policy, and nobody allowed that. INVALID_ARGUMENT for an
// address that is not HOST:PORT. Reads no file. Thread-safe.
absl::Status CheckListeners(const SecurityOptions& options, const std::string& grpc_address);

// The same for the console at the HTTP address, which shows edits and asks the model: beyond
// loopback it needs a policy (TLS, which HTTP does not have here, is for a proxy in front).
absl::Status CheckConsole(const SecurityOptions& options, const std::string& http_address);

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_LISTENER_CHECK_H_
