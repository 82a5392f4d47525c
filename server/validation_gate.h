#ifndef AMEND_SERVER_VALIDATION_GATE_H_
#define AMEND_SERVER_VALIDATION_GATE_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/editing/edit.h"
#include "core/editing/hook_stack.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"
#include "server/gate_verdict.h"
#include "storage/records.h"

namespace amend {

// Measures a candidate before it may serve: reliability, generality and locality of each edit, with
// the hooks `before` and `after` it, and judges their means (see JudgeScores). `targets` has one
// element per edit. Thread-safe; runs the model.
absl::StatusOr<GateResult> RunGate(const CausalLm& model, const Tokenizer& tokenizer,
                                   const HookStack& before, const HookStack& after,
                                   absl::Span<const Edit> edits,
                                   absl::Span<const TargetReport> targets,
                                   const GateThresholds& thresholds, bool enforced);

}  // namespace amend

#endif  // AMEND_SERVER_VALIDATION_GATE_H_
