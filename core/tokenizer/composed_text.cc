#include "core/tokenizer/composed_text.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "core/base/utf8.h"

namespace amend {
namespace {

// Characters below U+0300 are composed, and compose with nothing that stands before them.
bool IsBelowCombining(absl::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0xCC) return false;
  }
  return true;
}

// Of well-formed text.
std::string Compose(absl::string_view text) {
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &composed,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, std::free);
  if (size < 0) return std::string(text);
  return std::string(reinterpret_cast<const char*>(composed), static_cast<size_t>(size));
}

}  // namespace

std::string ComposeCharacters(absl::string_view text) {
  if (IsBelowCombining(text)) return std::string(text);
  std::string result;
  while (!text.empty()) {
    size_t valid = 0;
    Utf8Step step = FirstUtf8(text);
    while (step.kind == Utf8Step::Kind::kValid) {
      valid += step.length;
      if (valid == text.size()) break;
      step = FirstUtf8(text.substr(valid));
    }
    if (valid > 0) result += Compose(text.substr(0, valid));
    text.remove_prefix(valid);
    if (text.empty()) break;
    result.append(text.data(), step.length);
    text.remove_prefix(step.length);
  }
  return result;
}

}  // namespace amend
