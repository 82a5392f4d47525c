#ifndef AMEND_SERVER_SECURITY_ACCESS_POLICY_H_
#define AMEND_SERVER_SECURITY_ACCESS_POLICY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "amend/v1/policy.pb.h"

namespace amend {

// What a client certificate says of its owner.
struct CertificateNames {
  std::vector<std::string> uris;
  std::vector<std::string> dns_names;
  std::string common_name;
};

// A policy as it is asked: by token or certificate. Immutable.
class AccessPolicy {
 public:
  // Reads a text proto of amend.v1.Policy. INVALID_ARGUMENT, naming `name` (its file), the place
  // and the value, for anything that is not as policy.proto says.
  static absl::StatusOr<std::shared_ptr<const AccessPolicy>> Parse(absl::string_view name,
                                                                   const std::string& text);

  // Whoever has this token; null for nobody.
  const v1::Principal* FindByToken(absl::string_view token) const;
  // Whoever one of the URIs names, else one of the DNS names, else, where there are neither, the
  // common name; null for nobody.
  const v1::Principal* FindByCertificate(const CertificateNames& names) const;
  // Null for nobody.
  const v1::Principal* FindByName(absl::string_view name) const;
  // Its own or, without those, those of the policy.
  const v1::PrincipalLimits& LimitsOf(const v1::Principal& principal) const;

 private:
  explicit AccessPolicy(v1::Policy policy);
  absl::Status Index(absl::string_view file);

  const v1::Policy policy_;
  // "token:<sha-256>", "uri:...", "dns:...", "cn:...", "name:..."; the values are in `policy_`.
  absl::flat_hash_map<std::string, const v1::Principal*> known_by_;
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_ACCESS_POLICY_H_
