#ifndef AMEND_SERVER_SECURITY_TLS_FILES_H_
#define AMEND_SERVER_SECURITY_TLS_FILES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/security/security_options.h"

namespace amend {

// What the TLS files of a server held when they were read, in PEM. Plain data.
struct TlsFiles {
  // The server's certificate first, then what leads to its authority.
  std::string certificate_chain;
  std::string key;
  // Empty: clients are not asked for certificates.
  std::string client_authorities;
  // Of the server's certificate.
  absl::Time expiry;

  bool operator==(const TlsFiles& other) const {
    return certificate_chain == other.certificate_chain && key == other.key &&
           client_authorities == other.client_authorities;
  }
};

// Reads the files that `options` name and checks what can be checked without a client. An error
// names the file: NOT_FOUND when it cannot be read; INVALID_ARGUMENT when it is not PEM, the key is
// encrypted or not that of the certificate (as between two steps of a replacement);
// FAILED_PRECONDITION when the certificate is not valid at `now`, with its times. Thread-safe.
absl::StatusOr<TlsFiles> ReadTlsFiles(const SecurityOptions& options, absl::Time now);

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_TLS_FILES_H_
