#include "server/console/request_guard.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"
#include "server/errors.h"

namespace amend {
namespace {

// Headers are shown in errors up to here.
constexpr size_t kMaxShown = 100;

constexpr char kApiPrefix[] = "/api/";

bool IsIpAddress(absl::string_view host) {
  in6_addr address{};
  if (absl::ConsumePrefix(&host, "[")) {
    return absl::ConsumeSuffix(&host, "]") &&
           inet_pton(AF_INET6, std::string(host).c_str(), &address) == 1;
  }
  return inet_pton(AF_INET, std::string(host).c_str(), &address) == 1;
}

// "example.org:9464" without the port.
absl::string_view WithoutPort(absl::string_view authority) {
  const size_t colon = authority.rfind(':');
  const size_t bracket = authority.rfind(']');
  const bool has_port = colon != authority.npos && (bracket == authority.npos || bracket < colon);
  return has_port ? authority.substr(0, colon) : authority;
}

absl::Status Refuse(absl::string_view reason, absl::string_view header, absl::string_view value,
                    absl::string_view why) {
  return WithReason(absl::PermissionDeniedError(absl::StrCat(
                        "the header ", header, " is \"", value.substr(0, kMaxShown), "\", ", why)),
                    reason);
}

absl::Status CheckHost(absl::string_view authority, const std::vector<std::string>& hosts) {
  const absl::string_view host = WithoutPort(authority);
  const bool known = IsIpAddress(host) || absl::EqualsIgnoreCase(host, "localhost") ||
                     std::any_of(hosts.begin(), hosts.end(), [&](const std::string& h) {
                       return absl::EqualsIgnoreCase(h, host);
                     });
  if (known) return absl::OkStatus();
  return Refuse("HOST_NOT_ALLOWED", "Host", authority,
                "not an IP address, localhost or a name given with --console-hosts");
}

absl::Status CheckOrigin(const HttpRequest& request) {
  const std::string host = request.header("host");
  const std::string origin = request.header("origin");
  absl::string_view from = origin;
  const bool has_scheme =
      absl::ConsumePrefix(&from, "http://") || absl::ConsumePrefix(&from, "https://");
  if (!origin.empty() && !(has_scheme && absl::EqualsIgnoreCase(from, host))) {
    return Refuse("ORIGIN_NOT_ALLOWED", "Origin", origin, absl::StrCat("not that of ", host));
  }
  // Absent from programs and old browsers. A link from elsewhere may lead to the page itself.
  const std::string site = request.header("sec-fetch-site");
  const bool same = site.empty() || site == "same-origin" || site == "none";
  if (!same && absl::StartsWith(request.path, kApiPrefix)) {
    return Refuse("ORIGIN_NOT_ALLOWED", "Sec-Fetch-Site", site, "not same-origin");
  }
  return absl::OkStatus();
}

absl::Status CheckContentType(const HttpRequest& request) {
  if (request.method != "POST") return absl::OkStatus();
  const std::string type = request.header("content-type");
  const absl::string_view media =
      absl::StripAsciiWhitespace(absl::string_view(type).substr(0, type.find(';')));
  if (absl::EqualsIgnoreCase(media, "application/json")) return absl::OkStatus();
  return WithReason(
      absl::InvalidArgumentError(absl::StrCat(
          "the header Content-Type is \"", type.substr(0, kMaxShown), "\", not application/json")),
      "INVALID_REQUEST");
}

}  // namespace

absl::Status CheckRequest(const HttpRequest& request, const std::vector<std::string>& hosts) {
  AMEND_RETURN_IF_ERROR(CheckHost(request.header("host"), hosts));
  AMEND_RETURN_IF_ERROR(CheckOrigin(request));
  return CheckContentType(request);
}

}  // namespace amend
