#include "server/validation_gate.h"

#include <vector>

#include "core/base/status_macros.h"
#include "core/evaluation/edit_evaluation.h"

namespace amend {

absl::StatusOr<GateResult> RunGate(const CausalLm& model, const Tokenizer& tokenizer,
                                   const HookStack& before, const HookStack& after,
                                   absl::Span<const Edit> edits,
                                   absl::Span<const TargetReport> targets,
                                   const GateThresholds& thresholds, bool enforced) {
  AMEND_ASSIGN_OR_RETURN(const std::vector<EditScores> scores,
                         EvaluateEdits(model, tokenizer, before, after, edits));
  return JudgeScores(MeanScores(scores), scores, targets, thresholds, enforced);
}

}  // namespace amend
