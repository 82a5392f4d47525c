#ifndef AMEND_SERVER_SECURITY_SECURITY_FILES_H_
#define AMEND_SERVER_SECURITY_SECURITY_FILES_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/security/authorizer.h"
#include "server/security/reloadable_tls.h"
#include "server/security/security_observer.h"
#include "server/security/security_options.h"

namespace amend {

// Reads certificates and policy at the start, and again when they change, on a thread of its own. A
// file that is wrong later changes nothing: what was read before stays in force, and `progress` and
// the observer hear of it. Files are compared by content, so that it does not matter how they are
// replaced. Thread-safe.
class SecurityFiles {
 public:
  struct Options {
    SecurityOptions files;
    // Gets each policy. Outlives this object.
    Authorizer* authorizer = nullptr;
    // May be null. Outlives this object.
    SecurityObserver* observer = nullptr;
    // May be null.
    std::function<void(absl::string_view)> progress;
    std::function<absl::Time()> clock = absl::Now;
  };

  // Reads all of them: an error is that of ReadTlsFiles or AccessPolicy::Parse. Nothing is watched
  // yet.
  static absl::StatusOr<std::unique_ptr<SecurityFiles>> Load(Options options);
  // Stops watching.
  ~SecurityFiles();

  // Begins to look every `reload_interval`. Once.
  void Watch();
  // Looks now. What is wrong with a file is told when it is seen a second time, for it may be half
  // replaced.
  void CheckNow() ABSL_LOCKS_EXCLUDED(mutex_);

  // Null without TLS. Outlives the gRPC servers that use it.
  ReloadableTls* tls() { return tls_.get(); }

 private:
  // What is known of one of the files.
  struct Watched {
    std::string last_error;
    bool told = false;
  };

  explicit SecurityFiles(Options options) : options_(std::move(options)) {}
  absl::Status ReadPolicy() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ReadTls() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Note(SecurityFile file, Watched* watched, const absl::Status& status);
  void Taken(SecurityFile file, absl::string_view what);

  const Options options_;
  std::unique_ptr<ReloadableTls> tls_;
  absl::Mutex mutex_;
  // Those in force; not set before they were read first.
  std::optional<std::string> policy_text_ ABSL_GUARDED_BY(mutex_);
  std::optional<TlsFiles> tls_files_ ABSL_GUARDED_BY(mutex_);
  Watched watched_policy_ ABSL_GUARDED_BY(mutex_);
  Watched watched_tls_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_SECURITY_FILES_H_
