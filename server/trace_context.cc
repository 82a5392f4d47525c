#include "server/trace_context.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace amend {
namespace {

bool IsHex(absl::string_view text, size_t length) {
  return text.size() == length &&
         text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

bool IsId(absl::string_view text, size_t length) {
  return IsHex(text, length) && text.find_first_not_of('0') != absl::string_view::npos;
}

std::string RandomHex(const std::function<uint64_t()>& random) {
  uint64_t bits = random();
  // Zeros mean that there is no id.
  while (bits == 0) bits = random();
  return absl::StrCat(absl::Hex(bits, absl::kZeroPad16));
}

}  // namespace

std::optional<TraceContext> ParseTraceparent(absl::string_view header) {
  const std::vector<absl::string_view> parts = absl::StrSplit(header, '-');
  if (parts.size() < 4 || !IsHex(parts[0], 2) || parts[0] == "ff") return std::nullopt;
  // Later versions may have more parts.
  if (parts[0] == "00" && parts.size() != 4) return std::nullopt;
  if (!IsId(parts[1], 32) || !IsId(parts[2], 16) || !IsHex(parts[3], 2)) return std::nullopt;
  return TraceContext{std::string(parts[1]), std::string(parts[2]), std::string(parts[3])};
}

std::string TraceparentOf(const TraceContext& context) {
  return absl::StrCat("00-", context.trace_id, "-", context.span_id, "-", context.flags);
}

TraceContext NewSpan(const std::optional<TraceContext>& caller,
                     const std::function<uint64_t()>& random) {
  TraceContext context;
  if (caller) {
    context = *caller;
  } else {
    context.trace_id = RandomHex(random);
    absl::StrAppend(&context.trace_id, RandomHex(random));
  }
  context.span_id = RandomHex(random);
  return context;
}

}  // namespace amend
