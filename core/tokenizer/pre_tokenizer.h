#ifndef AMEND_CORE_TOKENIZER_PRE_TOKENIZER_H_
#define AMEND_CORE_TOKENIZER_PRE_TOKENIZER_H_

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/tokenizer/bpe_definition.h"

namespace amend {

// Cuts text into the words within which byte pairs are merged, by the regular expression of GPT-2
// (contractions, letters, digits and other characters, each with at most one space before it, and
// white space), Llama 3 or Qwen2; or not at all. Character classes are those of the Unicode version
// that PCRE2 was built with.
//
// The words cover the text exactly, in order, whatever its bytes. Bytes that are not well-formed
// UTF-8 are set apart first: each run of them is one word, and the text on either side is cut as if
// it ended there. (Programs that take Unicode strings have no answer for such bytes to agree with.)
//
// Takes time linear in the text. Thread-safe (immutable).
class PreTokenizer {
 public:
  // INTERNAL when PCRE2 refuses the expression, as it does when built without Unicode.
  static absl::StatusOr<std::unique_ptr<PreTokenizer>> Create(SplitExpression split);
  ~PreTokenizer();
  PreTokenizer(const PreTokenizer&) = delete;
  PreTokenizer& operator=(const PreTokenizer&) = delete;

  // Calls `word` with each word: a piece of `text`, never empty.
  void ForEachWord(absl::string_view text, absl::FunctionRef<void(absl::string_view)> word) const;

 private:
  struct Regex;
  explicit PreTokenizer(std::unique_ptr<Regex> regex);

  std::unique_ptr<Regex> regex_;
};

}  // namespace amend

#endif  // AMEND_CORE_TOKENIZER_PRE_TOKENIZER_H_
