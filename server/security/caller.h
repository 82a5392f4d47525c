#ifndef AMEND_SERVER_SECURITY_CALLER_H_
#define AMEND_SERVER_SECURITY_CALLER_H_

#include <cstdint>
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

  // The call is over, or all but: it counts no more among those in progress. May be called twice.
  virtual void End() = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_CALLER_H_
