#ifndef AMEND_SERVER_SECURITY_SECURITY_OBSERVER_H_
#define AMEND_SERVER_SECURITY_SECURITY_OBSERVER_H_

#include "absl/time/time.h"

namespace amend {

// The files that a running server reads again when they change.
enum class SecurityFile { kTls, kPolicy };

// Hears of them. Thread-safe; must not block.
class SecurityObserver {
 public:
  virtual ~SecurityObserver() = default;
  // A changed file was taken, or refused: what was there before it stays in force.
  virtual void SecurityFileChanged(SecurityFile file, bool taken) = 0;
  // Until when the server's certificate is valid.
  virtual void CertificateExpires(absl::Time expiry) = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_SECURITY_OBSERVER_H_
