#include "core/tokenizer/pre_tokenizer.h"

#include <pcre2.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/utf8.h"

namespace amend {
namespace {

// The expressions with \s and \S spelt out as Unicode's White_Space: PCRE2's own \s also matches
// U+180E, which has not been a space since Unicode 6.3.
#define AMEND_SPACES R"(\x09-\x0d\x{85}\p{Z})"
constexpr char kGpt2[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+)"
                         R"(| ?[^)" AMEND_SPACES R"(\p{L}\p{N}]+)"
                         R"(|[)" AMEND_SPACES R"(]+(?![^)" AMEND_SPACES R"(]))"
                         R"(|[)" AMEND_SPACES R"(]+)";
#define AMEND_LATER(DIGITS)                                                                  \
  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" DIGITS R"(| ?[^)" AMEND_SPACES \
  R"(\p{L}\p{N}]+[\r\n]*|[)" AMEND_SPACES R"(]*[\r\n]+)"                                     \
  R"(|[)" AMEND_SPACES R"(]+(?![^)" AMEND_SPACES R"(]))"                                     \
  R"(|[)" AMEND_SPACES R"(]+)"
constexpr char kLlama3[] = AMEND_LATER(R"(\p{N}{1,3})");
constexpr char kQwen2[] = AMEND_LATER(R"(\p{N})");
#undef AMEND_LATER
#undef AMEND_SPACES

const char* ExpressionOf(SplitExpression split) {
  switch (split) {
    case SplitExpression::kLlama3:
      return kLlama3;
    case SplitExpression::kQwen2:
      return kQwen2;
    case SplitExpression::kGpt2:
      return kGpt2;
    case SplitExpression::kNone:
      break;
  }
  return R"((?s:.+))";
}

// For what cannot happen: going on would give wrong tokens silently.
[[noreturn]] void Die(const char* what, int code) {
  std::fprintf(stderr, "pre-tokenizer: %s (PCRE2 code %d)\n", what, code);
  std::abort();
}

std::string ErrorText(int code) {
  char text[256];
  pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(text), sizeof(text));
  return text;
}

// Length of the longest prefix of `text` that is well-formed UTF-8 (or, if `valid` is false, of
// bytes that are not).
size_t RunLength(absl::string_view text, bool valid) {
  size_t length = 0;
  while (length < text.size()) {
    const Utf8Step step = FirstUtf8(text.substr(length));
    if ((step.kind == Utf8Step::Kind::kValid) != valid) break;
    length += step.length;
  }
  return length;
}

}  // namespace

struct PreTokenizer::Regex {
  pcre2_code* code = nullptr;
  pcre2_match_context* limits = nullptr;

  ~Regex() {
    pcre2_match_context_free(limits);
    pcre2_code_free(code);
  }
};

PreTokenizer::PreTokenizer(std::unique_ptr<Regex> regex) : regex_(std::move(regex)) {}

PreTokenizer::~PreTokenizer() = default;

absl::StatusOr<std::unique_ptr<PreTokenizer>> PreTokenizer::Create(SplitExpression split) {
  auto regex = std::make_unique<Regex>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  regex->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(ExpressionOf(split)), PCRE2_ZERO_TERMINATED,
                    PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  if (regex->code == nullptr) {
    return absl::InternalError(absl::StrCat("PCRE2 refuses the pre-tokenizer's expression at ",
                                            offset, ": ", ErrorText(error)));
  }
  // Compiled to machine code where the system lets it, interpreted otherwise.
  (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
  // No alternative backtracks more than once over a word, so that limits would only reject long
  // words.
  regex->limits = pcre2_match_context_create(nullptr);
  if (regex->limits == nullptr) return absl::ResourceExhaustedError("PCRE2: out of memory");
  pcre2_set_match_limit(regex->limits, std::numeric_limits<uint32_t>::max());
  pcre2_set_depth_limit(regex->limits, std::numeric_limits<uint32_t>::max());
  pcre2_set_heap_limit(regex->limits, std::numeric_limits<uint32_t>::max());
  return std::unique_ptr<PreTokenizer>(new PreTokenizer(std::move(regex)));
}

void PreTokenizer::ForEachWord(absl::string_view text,
                               absl::FunctionRef<void(absl::string_view)> word) const {
  std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> match(
      pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  if (match == nullptr) Die("out of memory", PCRE2_ERROR_NOMEMORY);
  while (!text.empty()) {
    const absl::string_view run = text.substr(0, RunLength(text, true));
    size_t position = 0;
    while (position < run.size()) {
      const int count =
          pcre2_match(regex_->code, reinterpret_cast<PCRE2_SPTR>(run.data()), run.size(), position,
                      PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, match.get(), regex_->limits);
      // Every character is in one of the classes, so that there always is a match.
      if (count <= 0) Die("the expression matched nothing", count);
      const size_t end = pcre2_get_ovector_pointer(match.get())[1];
      word(run.substr(position, end - position));
      position = end;
    }
    text.remove_prefix(run.size());
    const absl::string_view broken = text.substr(0, RunLength(text, false));
    if (!broken.empty()) word(broken);
    text.remove_prefix(broken.size());
  }
}

}  // namespace amend
