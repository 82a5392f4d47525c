#include "client/credentials.h"

#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace amend::client {
namespace {

// Reads `path` into `text`, unless it is empty.
absl::Status Read(absl::string_view flag, const std::string& path, std::string* text) {
  if (path.empty()) return absl::OkStatus();
  std::ifstream file(path, std::ios::binary);
  text->assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  if (!file.is_open() || file.bad()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", flag, " ", path));
  }
  if (absl::StripAsciiWhitespace(*text).empty()) {
    return absl::InvalidArgumentError(absl::StrCat(flag, " ", path, " is empty"));
  }
  return absl::OkStatus();
}

// Names are not looked up: one that is not known to be this machine is taken for another.
bool IsThisMachine(absl::string_view server) {
  const absl::string_view host = server.substr(0, server.rfind(':'));
  return host == "localhost" || host == "[::1]" || absl::StartsWith(host, "127.");
}

}  // namespace

absl::StatusOr<Credentials> ReadCredentials(const CredentialFiles& files,
                                            absl::string_view server) {
  Credentials credentials;
  if (files.certificate.empty() != files.key.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--cert \"", files.certificate,
                                                   "\" and --key \"", files.key,
                                                   "\" have to be given together"));
  }
  credentials.tls = files.tls || !files.authorities.empty() || !files.certificate.empty();
  for (const absl::Status& status : {Read("--ca", files.authorities, &credentials.authorities),
                                     Read("--cert", files.certificate, &credentials.certificate),
                                     Read("--key", files.key, &credentials.key),
                                     Read("--token-file", files.token, &credentials.token)}) {
    if (!status.ok()) return status;
  }
  credentials.token = std::string(absl::StripAsciiWhitespace(credentials.token));
  if (!credentials.token.empty() && !credentials.tls && !IsThisMachine(server)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--token-file ", files.token, " would be sent to ", server,
                     " in clear text: use TLS (--ca, or --tls for the system's authorities)"));
  }
  return credentials;
}

}  // namespace amend::client
