#include "core/generation/text_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "core/base/utf8.h"

namespace amend {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

TextStream::TextStream(std::vector<std::string> stop) : stop_(std::move(stop)) {
  // An empty one would end every text before it began.
  stop_.erase(std::remove(stop_.begin(), stop_.end(), ""), stop_.end());
}

std::string TextStream::Append(absl::string_view token_bytes) {
  if (stopped_) return "";
  pending_.append(token_bytes.data(), token_bytes.size());
  return TakeCertain(/*final=*/false);
}

std::string TextStream::Finish() {
  if (stopped_) return "";
  return TakeCertain(/*final=*/true);
}

size_t TextStream::FindBorder(bool final) {
  for (size_t start = 0; start < pending_.size(); ++start) {
    const absl::string_view rest = absl::string_view(pending_).substr(start);
    bool may_begin = false;
    for (const std::string& stop : stop_) {
      if (absl::StartsWith(rest, stop)) {
        stopped_ = true;
        return start;
      }
      may_begin = may_begin || absl::StartsWith(stop, rest);
    }
    if (may_begin && !final) return start;
  }
  return pending_.size();
}

std::string TextStream::TakeCertain(bool final) {
  const size_t border = FindBorder(final);
  const bool last = final || stopped_;
  // What follows a stop string must not complete a character before it.
  const absl::string_view bytes =
      absl::string_view(pending_).substr(0, last ? border : pending_.size());
  std::string text;
  size_t taken = 0;
  while (taken < border) {
    const Utf8Step step = FirstUtf8(bytes.substr(taken));
    if (step.kind == Utf8Step::Kind::kIncomplete && !last) break;
    if (taken + step.length > border) break;
    if (step.kind == Utf8Step::Kind::kValid) {
      text.append(bytes.data() + taken, step.length);
    } else {
      text.append(kReplacement.data(), kReplacement.size());
    }
    taken += step.length;
  }
  pending_.erase(0, last ? pending_.size() : taken);
  return text;
}

}  // namespace amend
