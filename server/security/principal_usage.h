#ifndef AMEND_SERVER_SECURITY_PRINCIPAL_USAGE_H_
#define AMEND_SERVER_SECURITY_PRINCIPAL_USAGE_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "amend/v1/policy.pb.h"
#include "server/security/token_bucket.h"

namespace amend {

// What one principal has used of its limits, over all its calls. The limits are passed to each
// method, since a policy may change meanwhile. Thread-safe; the lock is held for a few arithmetic
// operations, a few times per call and never per token.
class PrincipalUsage {
 public:
  // A call wants to begin. RESOURCE_EXHAUSTED with a retry delay otherwise: RATE_LIMITED, or
  // QUOTA_EXCEEDED (naming the quota) for the calls in progress and, if it `generates`, for the
  // tokens. EndCall() follows where it is OK, and only there.
  absl::Status BeginCall(const v1::PrincipalLimits& limits, bool generates, absl::Time now)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void EndCall() ABSL_LOCKS_EXCLUDED(mutex_);

  // QUOTA_EXCEEDED like BeginCall.
  absl::Status TakeEdits(const v1::PrincipalLimits& limits, int count, absl::Time now)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void AddGeneratedTokens(const v1::PrincipalLimits& limits, int64_t count, absl::Time now)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Mutex mutex_;
  TokenBucket requests_ ABSL_GUARDED_BY(mutex_);
  TokenBucket tokens_ ABSL_GUARDED_BY(mutex_);
  TokenBucket edits_ ABSL_GUARDED_BY(mutex_);
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_PRINCIPAL_USAGE_H_
