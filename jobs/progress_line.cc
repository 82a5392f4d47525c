#include "jobs/progress_line.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace amend::jobs {
namespace {

constexpr double kRedrawSeconds = 0.2;
constexpr double kLineSeconds = 5;

}  // namespace

std::string DurationText(double seconds) {
  const int64_t whole = std::llround(std::max(0.0, seconds));
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

ProgressLine::ProgressLine(std::ostream* out, bool terminal, int64_t max_tokens,
                           std::function<double()> clock)
    : out_(out), terminal_(terminal), max_tokens_(max_tokens), clock_(std::move(clock)) {}

void ProgressLine::Update(const CovarianceProgress& progress) {
  const double now = clock_();
  // What ends first, the text or the tokens asked for.
  share_ = progress.total_bytes == 0
               ? 0
               : static_cast<double>(progress.bytes) / static_cast<double>(progress.total_bytes);
  if (max_tokens_ > 0)
    share_ =
        std::max(share_, static_cast<double>(progress.tokens) / static_cast<double>(max_tokens_));
  if (started_ < 0) {
    started_ = now;
    printed_ = now;
    first_share_ = share_;
    if (progress.resumed_tokens > 0)
      *out_ << "resuming after " << progress.resumed_tokens << " tokens" << std::endl;
    return;
  }
  if (now - printed_ < (terminal_ ? kRedrawSeconds : kLineSeconds)) return;
  printed_ = now;
  const std::string text = Text(progress);
  if (terminal_) {
    const size_t padding = width_ > text.size() ? width_ - text.size() : 0;
    *out_ << "\r" << text << std::string(padding, ' ') << std::flush;
    width_ = text.size();
  } else {
    *out_ << text << std::endl;
  }
}

std::string ProgressLine::Text(const CovarianceProgress& progress) const {
  const double seconds = printed_ - started_;
  const double rate = static_cast<double>(progress.tokens - progress.resumed_tokens) / seconds;
  std::string text =
      absl::StrFormat("%d tokens, %.0f tokens/s, %.0f %%", progress.tokens, rate, 100 * share_);
  if (share_ > first_share_) {
    const double left = (1 - share_) * seconds / (share_ - first_share_);
    absl::StrAppend(&text, ", ", DurationText(left), " left");
  }
  return text;
}

void ProgressLine::End() {
  if (width_ == 0) return;
  *out_ << std::endl;
  width_ = 0;
}

}  // namespace amend::jobs
