#ifndef AMEND_CORE_EVALUATION_SCORER_H_
#define AMEND_CORE_EVALUATION_SCORER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/model/causal_lm.h"
#include "core/model/hook_point.h"

namespace amend {

// A continuation to score. Both parts hold at least one token; together they fit the context.
struct ScoreItem {
  std::vector<TokenId> prompt;
  std::vector<TokenId> continuation;
};

// Per continuation token, given the prompt and the tokens before it (teacher forcing).
struct ScoredContinuation {
  std::vector<float> logprobs;
  // What the model would have chosen.
  std::vector<TokenId> argmax;
};

// What one forward holds.
enum class ForwardRows {
  // Many rows, one behind the other, each without its last token, which predicts nothing. For hooks
  // that look at one token at a time.
  kPacked,
  // One row with all of its tokens, as the field's evaluations run it. For hooks that look at the
  // whole input (ReferenceHooks).
  kWholeRow,
};

// Results in the order of the items. INVALID_ARGUMENT, naming item and both lengths, for one whose
// tokens (with kPacked without the last one) do not fit the context.
absl::StatusOr<std::vector<ScoredContinuation>> ScoreContinuations(
    const CausalLm& model, const DownProjectionHook& hooks, absl::Span<const ScoreItem> items,
    ForwardRows rows = ForwardRows::kPacked);

}  // namespace amend

#endif  // AMEND_CORE_EVALUATION_SCORER_H_
