#include "server/host_port.h"

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace amend {

absl::StatusOr<HostPort> ParseHostPort(absl::string_view what, absl::string_view address) {
  const size_t colon = address.rfind(':');
  HostPort result;
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &result.port) || result.port < 0 ||
      result.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", what, " address \"", address, "\" is not HOST:PORT"));
  }
  result.host = std::string(address.substr(0, colon));
  return result;
}

}  // namespace amend
