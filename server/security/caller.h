#ifndef AMEND_SERVER_SECURITY_CALLER_H_
#define AMEND_SERVER_SECURITY_CALLER_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace amend {

// Who makes one call, from its admission to its end. Thread-safe.
class Caller {
 public:
  virtual ~Caller() = default;

  // The principal's name; where nobody is asked, that of the certificate or the peer's address.
  virtual const std::string& name() const = 0;

  // The principal's name; empty where nobody is asked.
  virtual std::string principal() const = 0;

  // Asks whether so many edits may be sent now. RESOURCE_EXHAUSTED (QUOTA_EXCEEDED, with a retry
  // delay) when they may not; PERMISSION_DENIED (ROLE_MISSING) when the policy has changed since
  // the call began and the caller may send none any more.
  virtual absl::Status TakeEdits(int count) = 0;

  // Counts tokens that were generated for this call.
  virtual void AddGeneratedTokens(int64_t count) = 0;

  // Has `cancel` called once, on any thread and with no lock held, when a policy comes under which
  // the call could not begin: now, if it is in force already. Not called any more after End(), but
  // for a call of it that has begun.
  virtual void CancelWhenRevoked(std::function<void()> cancel) = 0;
  // The error that a new call got under the policy for which `cancel` was called; OK before that.
  virtual absl::Status revoked() const = 0;

  // The call is over, or all but: it counts no more among those in progress. May be called twice.
  virtual void End() = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_CALLER_H_
