#ifndef AMEND_CORE_EDITING_EDIT_ROWS_H_
#define AMEND_CORE_EDITING_EDIT_ROWS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/types.h"
#include "core/editing/edit.h"
#include "core/editing/edit_settings.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

// One prompt in one context template.
struct PromptRow {
  std::vector<TokenId> tokens;
  // Lookup index: place of the subject's last token, that is, the number of tokens of everything up
  // to and including the subject, less one.
  int64_t lookup = 0;
};

// What the algorithm reads of one edit.
struct EditRows {
  // The plain template first, then the prefixed ones. Without the target.
  std::vector<PromptRow> prompts;
  // "{subject} is a": where the KL term looks.
  PromptRow essence;
  // Tokens of " " + target_new.
  std::vector<TokenId> target;
};

// Templates hold "{}" once; only that place is filled, so prompts may hold braces. INVALID_ARGUMENT
// when the subject is not exactly once in the prompt, naming both.
absl::StatusOr<EditRows> MakeEditRows(const Tokenizer& tokenizer, const EditSettings& settings,
                                      const Edit& edit);

// Occurrences of `needle` in `text` (overlapping ones too).
int CountOccurrences(absl::string_view text, absl::string_view needle);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_EDIT_ROWS_H_
