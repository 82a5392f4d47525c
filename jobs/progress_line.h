#ifndef AMEND_JOBS_PROGRESS_LINE_H_
#define AMEND_JOBS_PROGRESS_LINE_H_

#include <functional>
#include <ostream>
#include <string>

#include "core/editing/covariance_run.h"

namespace amend::jobs {

// Shows how far a covariance run is: one line that is redrawn on a terminal, else a line every few
// seconds. Not thread-safe.
class ProgressLine {
 public:
  // `max_tokens` 0: up to the end of the text. `clock`: seconds that only grow.
  ProgressLine(std::ostream* out, bool terminal, int64_t max_tokens, std::function<double()> clock);

  // Prints when it is time to.
  void Update(const CovarianceProgress& progress);
  // Ends a line that would be redrawn. Call before other output.
  void End();

 private:
  std::string Text(const CovarianceProgress& progress) const;

  std::ostream* const out_;
  const bool terminal_;
  const int64_t max_tokens_;
  const std::function<double()> clock_;
  double started_ = -1;
  double printed_ = 0;
  double first_share_ = 0;
  double share_ = 0;
  size_t width_ = 0;
};

// "0:42", "12:05" or "3:07:00".
std::string DurationText(double seconds);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_PROGRESS_LINE_H_
