#ifndef AMEND_CLIENT_CREDENTIALS_H_
#define AMEND_CLIENT_CREDENTIALS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace amend::client {

// How a client knows its server and shows who it is. Plain data; all empty: a connection in clear
// text without credentials.
struct Credentials {
  // Whether the connection is encrypted and the server's certificate checked.
  bool tls = false;
  // PEM. Authorities of the server's certificate; empty: those of the system.
  std::string authorities;
  // PEM. The client's own certificate with its chain, and its key; empty: it shows none.
  std::string certificate;
  std::string key;
  // Sent with every call as a bearer token; empty: none.
  std::string token;
};

// Where they come from: files, as paths. Empty: not.
struct CredentialFiles {
  bool tls = false;
  std::string authorities;
  std::string certificate;
  std::string key;
  // Whitespace around the token does not count.
  std::string token;
};

// Reads credentials for the server at "HOST:PORT". Any certificate file means TLS.
// INVALID_ARGUMENT, naming the flag of `amend` and the file: one cannot be read or is empty,
// certificate and key do not come together, or a token would go to another machine in clear text.
// Thread-safe.
absl::StatusOr<Credentials> ReadCredentials(const CredentialFiles& files, absl::string_view server);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CREDENTIALS_H_
