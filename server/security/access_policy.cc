#include "server/security/access_policy.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "server/text_proto.h"

namespace amend {
namespace {

// Longer names make audit records large.
constexpr size_t kMaxNameBytes = 128;
constexpr size_t kSha256HexDigits = 64;
// Rates above this are no limits, and exact in a double.
constexpr double kMaxRate = 1e12;

absl::Status Wrong(absl::string_view file, absl::string_view place, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", place, " ", what));
}

absl::Status CheckLimits(absl::string_view file, absl::string_view place,
                         const v1::PrincipalLimits& limits) {
  const std::pair<const char*, double> numbers[] = {
      {"requests_per_second", limits.requests_per_second()},
      {"request_burst", limits.request_burst()},
      {"concurrent_calls", limits.concurrent_calls()},
      {"generated_tokens_per_minute", static_cast<double>(limits.generated_tokens_per_minute())},
      {"edits_per_minute", static_cast<double>(limits.edits_per_minute())},
  };
  for (const auto& [field, value] : numbers) {
    // Also false for what is not a number.
    if (value >= 0 && value <= kMaxRate) continue;
    return Wrong(file, place, absl::StrCat(field, " is ", value, ", not from 0 to ", kMaxRate));
  }
  if (limits.request_burst() > 0 && limits.requests_per_second() == 0) {
    return Wrong(file, place, "request_burst has no requests_per_second");
  }
  return absl::OkStatus();
}

absl::Status CheckName(absl::string_view file, int index, const std::string& name) {
  const bool printable =
      std::all_of(name.begin(), name.end(), [](char c) { return absl::ascii_isgraph(c); });
  if (!name.empty() && name.size() <= kMaxNameBytes && printable) return absl::OkStatus();
  return Wrong(file, absl::StrCat("principals[", index, "].name"),
               absl::StrCat("is \"", name, "\", not 1 to ", kMaxNameBytes,
                            " ASCII characters without spaces"));
}

absl::Status CheckRoles(absl::string_view file, absl::string_view place,
                        const v1::Principal& principal) {
  if (principal.roles().empty()) return Wrong(file, place, "has no roles");
  for (const int role : principal.roles()) {
    if (role == v1::ROLE_UNSPECIFIED || !v1::Role_IsValid(role)) {
      return Wrong(file, place, absl::StrCat("has role ", role, ", which is none"));
    }
  }
  return absl::OkStatus();
}

// What a principal is known by, as keys of the index.
absl::StatusOr<std::vector<std::string>> KeysOf(absl::string_view file, absl::string_view place,
                                                const v1::Principal& principal) {
  std::vector<std::string> keys;
  const auto add = [&](absl::string_view kind, const auto& values) {
    for (const std::string& value : values) keys.push_back(absl::StrCat(kind, value));
  };
  add("uri:", principal.certificate_uris());
  add("dns:", principal.certificate_dns_names());
  add("cn:", principal.certificate_common_names());
  for (const std::string& key : keys) {
    if (key.back() == ':') return Wrong(file, place, "has an empty certificate name");
  }
  for (const std::string& digest : principal.token_sha256()) {
    const bool hex =
        std::all_of(digest.begin(), digest.end(), [](char c) { return absl::ascii_isxdigit(c); });
    // It is not quoted: somebody may have put the token itself there.
    if (!hex || digest.size() != kSha256HexDigits) {
      return Wrong(file, place,
                   absl::StrCat("has a token_sha256 of ", digest.size(), " characters, not of ",
                                kSha256HexDigits, " hex digits"));
    }
    keys.push_back(absl::StrCat("token:", absl::AsciiStrToLower(digest)));
  }
  if (keys.empty()) return Wrong(file, place, "has neither a certificate name nor a token");
  return keys;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const AccessPolicy>> AccessPolicy::Parse(absl::string_view name,
                                                                        const std::string& text) {
  v1::Policy policy;
  AMEND_RETURN_IF_ERROR(ParseTextProto(name, text, &policy));
  const std::shared_ptr<AccessPolicy> made(new AccessPolicy(std::move(policy)));
  AMEND_RETURN_IF_ERROR(made->Index(name));
  return std::shared_ptr<const AccessPolicy>(made);
}

AccessPolicy::AccessPolicy(v1::Policy policy) : policy_(std::move(policy)) {}

absl::Status AccessPolicy::Index(absl::string_view file) {
  AMEND_RETURN_IF_ERROR(CheckLimits(file, "default_limits", policy_.default_limits()));
  if (policy_.principals().empty()) return Wrong(file, "the policy", "has no principals");
  for (int i = 0; i < policy_.principals_size(); ++i) {
    const v1::Principal& principal = policy_.principals(i);
    AMEND_RETURN_IF_ERROR(CheckName(file, i, principal.name()));
    const std::string place = absl::StrCat("principal \"", principal.name(), "\"");
    AMEND_RETURN_IF_ERROR(CheckRoles(file, place, principal));
    AMEND_RETURN_IF_ERROR(CheckLimits(file, place, principal.limits()));
    AMEND_ASSIGN_OR_RETURN(std::vector<std::string> keys, KeysOf(file, place, principal));
    keys.push_back(absl::StrCat("name:", principal.name()));
    for (const std::string& key : keys) {
      const auto [other, is_new] = known_by_.emplace(key, &principal);
      if (is_new) continue;
      const absl::string_view kind = absl::string_view(key).substr(0, key.find(':'));
      return Wrong(file, place,
                   absl::StrCat("has a ", kind, " that principal \"", other->second->name(),
                                "\" above it has"));
    }
  }
  return absl::OkStatus();
}

const v1::Principal* AccessPolicy::FindByToken(absl::string_view token) const {
  // Looked up by the digest: how long that takes says nothing of the tokens that there are.
  const auto found = known_by_.find(absl::StrCat("token:", Sha256Hex(token)));
  return found == known_by_.end() ? nullptr : found->second;
}

const v1::Principal* AccessPolicy::FindByCertificate(const CertificateNames& names) const {
  for (const std::string& uri : names.uris) {
    const auto found = known_by_.find(absl::StrCat("uri:", uri));
    if (found != known_by_.end()) return found->second;
  }
  for (const std::string& name : names.dns_names) {
    const auto found = known_by_.find(absl::StrCat("dns:", name));
    if (found != known_by_.end()) return found->second;
  }
  if (!names.uris.empty() || !names.dns_names.empty()) return nullptr;
  const auto found = known_by_.find(absl::StrCat("cn:", names.common_name));
  return found == known_by_.end() ? nullptr : found->second;
}

const v1::Principal* AccessPolicy::FindByName(absl::string_view name) const {
  const auto found = known_by_.find(absl::StrCat("name:", name));
  return found == known_by_.end() ? nullptr : found->second;
}

const v1::PrincipalLimits& AccessPolicy::LimitsOf(const v1::Principal& principal) const {
  return principal.has_limits() ? principal.limits() : policy_.default_limits();
}

}  // namespace amend
