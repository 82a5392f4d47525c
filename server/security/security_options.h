#ifndef AMEND_SERVER_SECURITY_SECURITY_OPTIONS_H_
#define AMEND_SERVER_SECURITY_SECURITY_OPTIONS_H_

#include <string>

#include "absl/time/time.h"

namespace amend {

// Who may reach a server, and how. Plain data; empty paths and addresses mean "not".
struct SecurityOptions {
  // PEM files: the server's certificate with its chain, the certificate's key, and the authorities
  // that sign certificates of clients. Certificate and key come together.
  std::string tls_certificate_file;
  std::string tls_key_file;
  std::string tls_client_ca_file;
  // With authorities: whether a client may come without a certificate, to send a token.
  bool client_certificate_optional = false;
  // "HOST:PORT" of AdminService alone; empty: it is at the address of the other services.
  std::string admin_address;
  // A text proto (amend.v1.Policy): who may call what.
  std::string policy_file;
  // Whether an address that is not loopback may be listened on without TLS or without a policy.
  bool allow_insecure = false;
  // How often the files above are looked at for changes.
  absl::Duration reload_interval = absl::Seconds(5);

  bool has_tls() const { return !tls_certificate_file.empty(); }
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_SECURITY_OPTIONS_H_
