#ifndef AMEND_CORE_EDITING_EDIT_VALIDATION_H_
#define AMEND_CORE_EDITING_EDIT_VALIDATION_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "core/editing/edit.h"
#include "core/editing/edit_settings.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

// What is wrong with one edit of a batch.
struct EditViolation {
  int index = 0;
  // The field within the edit: "subject", "locality_probes[0].prompt".
  std::string field;
  // Names both values where there are two.
  std::string description;
};

// Paraphrases of one edit, and probes: the gate runs each of them.
inline constexpr size_t kMaxGateTexts = 100;
inline constexpr size_t kMaxClientEditIdBytes = 256;

// Checks edits without the model: prompt and target not empty and valid UTF-8 without NUL, subject
// exactly once in the prompt, every template, prompt, paraphrase and probe with its target within
// the context (naming both lengths), no more paraphrases, probes and bytes of client_edit_id than
// allowed, subjects that differ within the batch. Empty when all is well.
// Pure; thread-safe; no LibTorch.
std::vector<EditViolation> ValidateEdits(const Tokenizer& tokenizer, const EditSettings& settings,
                                         int context_length, absl::Span<const Edit> edits);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_EDIT_VALIDATION_H_
