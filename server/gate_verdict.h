#ifndef AMEND_SERVER_GATE_VERDICT_H_
#define AMEND_SERVER_GATE_VERDICT_H_

#include <vector>

#include "absl/types/span.h"
#include "core/editing/edit.h"
#include "storage/records.h"

namespace amend {

// What the gate found out about one candidate.
struct GateResult {
  // verdict.passed: each measured mean reaches its threshold and every number is finite.
  GateVerdict verdict;
  // One per edit, in order; `passed` when each of its own scores reaches the threshold.
  std::vector<EditVerdict> edits;
  // Whether the candidate may become a validated revision: it passed, or only finite scores below a
  // threshold speak against it and thresholds are not enforced.
  bool accepted = false;
};

// Compares `means` and the scores of each edit with `thresholds`. `scores` and `targets` have one
// element per edit. Failures read "reliability 0.62 is below 0.90". What is not finite always turns
// the candidate down. Pure; thread-safe.
GateResult JudgeScores(const EditScores& means, absl::Span<const EditScores> scores,
                       absl::Span<const TargetReport> targets, const GateThresholds& thresholds,
                       bool enforced);

}  // namespace amend

#endif  // AMEND_SERVER_GATE_VERDICT_H_
