#ifndef AMEND_CORE_EVALUATION_EDIT_EVALUATION_H_
#define AMEND_CORE_EVALUATION_EDIT_EVALUATION_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/editing/edit.h"
#include "core/evaluation/scorer.h"
#include "core/model/causal_lm.h"
#include "core/model/hook_point.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

// Teacher-forced, token-level scores of each edit, as in EasyEdit. text = prompt + " " + target.
// Reliability: share of target tokens that `after` predicts on the edit's prompt; generality: the
// same over its paraphrases (mean over paraphrases); locality: share of the answer tokens of its
// probes that `before` and `after` predict alike (mean over probes). Absent where an edit has no
// paraphrase or probe.
absl::StatusOr<std::vector<EditScores>> EvaluateEdits(const CausalLm& model,
                                                      const Tokenizer& tokenizer,
                                                      const DownProjectionHook& before,
                                                      const DownProjectionHook& after,
                                                      absl::Span<const Edit> edits,
                                                      ForwardRows rows = ForwardRows::kPacked);

// The rows that the scores of edits are read from.
struct EditItems {
  // Per edit its prompt, then its paraphrases, each with the new target. For `after`.
  std::vector<ScoreItem> targets;
  // Per edit its probes, each with its answer. For `before` and `after`.
  std::vector<ScoreItem> probes;
};

// EvaluateEdits in two halves, for a caller that scores other rows in the same pass.
EditItems MakeEditItems(const Tokenizer& tokenizer, absl::Span<const Edit> edits);
// The results have one element per item.
std::vector<EditScores> ReadEditScores(absl::Span<const Edit> edits, const EditItems& items,
                                       absl::Span<const ScoredContinuation> targets_after,
                                       absl::Span<const ScoredContinuation> probes_before,
                                       absl::Span<const ScoredContinuation> probes_after);

// Means over the edits that have the score.
EditScores MeanScores(absl::Span<const EditScores> scores);

}  // namespace amend

#endif  // AMEND_CORE_EVALUATION_EDIT_EVALUATION_H_
