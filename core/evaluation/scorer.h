#ifndef AMEND_CORE_EVALUATION_SCORER_H_
#define AMEND_CORE_EVALUATION_SCORER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/hook_stack.h"
#include "core/model/causal_lm.h"

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

// Results in the order of the items. INVALID_ARGUMENT, naming item and both lengths, for one that
// does not fit the context.
absl::StatusOr<std::vector<ScoredContinuation>> ScoreContinuations(
    const CausalLm& model, const HookStack& hooks, absl::Span<const ScoreItem> items);

}  // namespace amend

#endif  // AMEND_CORE_EVALUATION_SCORER_H_
