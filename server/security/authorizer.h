#ifndef AMEND_SERVER_SECURITY_AUTHORIZER_H_
#define AMEND_SERVER_SECURITY_AUTHORIZER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/security/access_policy.h"
#include "server/security/caller.h"
#include "server/security/principal_usage.h"

namespace amend {

// What came with a request to say who sends it.
struct CallCredentials {
  // The value of "authorization", whole: "Bearer TOKEN".
  std::optional<std::string> authorization;
  // Empty names without a certificate, which the handshake has verified otherwise.
  CertificateNames certificate;
  // "ipv4:127.0.0.1:1234"
  std::string peer;
};

// The one place that says whether a call may begin: of every RPC, and of whatever HTTP serves in
// an RPC's stead. Outlives the callers that it admits. Thread-safe.
//
// Without a policy nobody is asked: all may call everything that is in the table of rpc_roles.h,
// and there are no limits. With one, a token counts before a certificate.
class Authorizer {
 public:
  explicit Authorizer(std::function<absl::Time()> clock = absl::Now) : clock_(std::move(clock)) {}
  Authorizer(const Authorizer&) = delete;
  Authorizer& operator=(const Authorizer&) = delete;

  // Streams that the policy does not let begin any more are cancelled (Caller::CancelWhenRevoked);
  // other calls that have begun go on. What principals have used of their limits stays, by their
  // names.
  void SetPolicy(std::shared_ptr<const AccessPolicy> policy) ABSL_LOCKS_EXCLUDED(mutex_);
  bool has_policy() const ABSL_LOCKS_EXCLUDED(mutex_) { return policy() != nullptr; }

  // Whether a call of `method` ("amend.v1.EditService/StreamEdits", also with a slash before) may
  // begin. UNAUTHENTICATED: CREDENTIALS_MISSING or CREDENTIALS_UNKNOWN. PERMISSION_DENIED:
  // ROLE_MISSING, naming the role, whatever the request asks for. RESOURCE_EXHAUSTED, see
  // PrincipalUsage. The caller counts as in progress until its End().
  absl::StatusOr<std::unique_ptr<Caller>> Admit(const CallCredentials& credentials,
                                                absl::string_view method)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  class AdmittedCaller;

  std::shared_ptr<const AccessPolicy> policy() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes a caller and what cancels its call among those that SetPolicy looks at.
  void Watch(AdmittedCaller* caller, std::function<void()> cancel) ABSL_LOCKS_EXCLUDED(mutex_);
  void Unwatch(AdmittedCaller* caller) ABSL_LOCKS_EXCLUDED(mutex_);
  // Notes why on the callers that may go on no more, and returns what cancels their calls.
  std::vector<std::function<void()>> TakeRevoked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<PrincipalUsage> UsageOf(const std::string& name) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::function<absl::Time()> clock_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const AccessPolicy> policy_ ABSL_GUARDED_BY(mutex_);
  // Streams in progress.
  absl::flat_hash_map<AdmittedCaller*, std::function<void()>> watched_ ABSL_GUARDED_BY(mutex_);
  // By the principals' names; as many as the policies of this server had.
  absl::flat_hash_map<std::string, std::shared_ptr<PrincipalUsage>> usage_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_AUTHORIZER_H_
