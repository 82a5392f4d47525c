#include "server/security/listener_check.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "server/host_port.h"

namespace amend {
namespace {

absl::Status CheckFiles(const SecurityOptions& options) {
  if (options.tls_certificate_file.empty() != options.tls_key_file.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("--tls-cert \"", options.tls_certificate_file,
                                                      "\" and --tls-key \"", options.tls_key_file,
                                                      "\" have to be given together"));
  }
  if (!options.tls_client_ca_file.empty() && !options.has_tls()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--tls-client-ca ", options.tls_client_ca_file, " needs --tls-cert and --tls-key"));
  }
  return absl::OkStatus();
}

absl::Status CheckListener(const SecurityOptions& options, absl::string_view flag,
                           const std::string& address) {
  AMEND_ASSIGN_OR_RETURN(const HostPort where, ParseHostPort("gRPC", address));
  if (options.allow_insecure || IsLoopback(where.host)) return absl::OkStatus();
  std::vector<absl::string_view> missing;
  if (!options.has_tls()) missing.push_back("TLS (--tls-cert, --tls-key)");
  if (options.policy_file.empty()) missing.push_back("a policy (--policy)");
  if (missing.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      flag, " ", address, " is not a loopback address and there is not ",
      absl::StrJoin(missing, " and not "),
      ": whoever reaches it could edit the model; --allow-insecure listens there all the same"));
}

}  // namespace

absl::Status CheckListeners(const SecurityOptions& options, const std::string& grpc_address) {
  AMEND_RETURN_IF_ERROR(CheckFiles(options));
  AMEND_RETURN_IF_ERROR(CheckListener(options, "--listen", grpc_address));
  if (options.admin_address.empty()) return absl::OkStatus();
  return CheckListener(options, "--admin-listen", options.admin_address);
}

absl::Status CheckConsole(const SecurityOptions& options, const std::string& http_address) {
  AMEND_ASSIGN_OR_RETURN(const HostPort where, ParseHostPort("HTTP", http_address));
  if (options.allow_insecure || IsLoopback(where.host) || !options.policy_file.empty()) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("--http ", http_address,
                   " is not a loopback address and there is not a policy (--policy): whoever "
                   "reaches the console could read edits and ask the model; --console off leaves "
                   "it out, --allow-insecure shows it all the same"));
}

}  // namespace amend
