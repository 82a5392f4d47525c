#ifndef AMEND_JOBS_JOB_H_
#define AMEND_JOBS_JOB_H_

#include <atomic>
#include <functional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace amend::jobs {

// What a job works with. Nothing is owned.
struct JobContext {
  // Results.
  std::ostream* out = nullptr;
  // Progress, notes and errors.
  std::ostream* err = nullptr;
  // `err` is a terminal: progress may redraw its line.
  bool terminal = false;
  // Seconds that only grow.
  std::function<double()> clock;
  // Set by a signal: the job ends soon and can be resumed. 0 before.
  const std::atomic<int>* stop_signal = nullptr;
};

// What a job returns to the shell.
enum ExitCode {
  kExitOk = 0,
  kExitFailed = 1,
  // Wrong flags, or a file that cannot be used.
  kExitUsage = 2,
  // Plus the signal's number.
  kExitSignal = 128,
};

// Prints "amend covariance: ..." to `err` and returns kExitUsage for what the user has to correct,
// else kExitFailed.
int Fail(const JobContext& context, const absl::Status& status);

// OK when `path` can be written: its folder is there, and it is not or may be replaced.
// ALREADY_EXISTS or NOT_FOUND, naming the path.
absl::Status CheckOutput(const std::string& path, bool overwrite);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_JOB_H_
