#ifndef AMEND_SERVER_GATE_VERDICT_H_
#define AMEND_SERVER_GATE_VERDICT_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/edit.h"
#include "storage/records.h"

namespace amend {

// What was measured of one edit that the candidate leaves out, at its own prompt.
struct WithdrawnScore {
  EditId id;
  // Whether every token of its target is what the model chooses, before and after.
  bool given_before = false;
  bool given_after = false;
  // Where the target stands the candidate chooses the same tokens as the unedited model, or as what
  // preceded the edit.
  bool reverted = false;
  bool finite = true;
};

// What was measured of one candidate.
struct GateMeasurements {
  // Per edit, in order; `sources` says what its generality was measured on.
  std::vector<EditScores> edits;
  std::vector<GeneralitySource> sources;
  // Over them.
  EditScores means;
  // See GateVerdict.
  std::optional<double> background;
  std::optional<double> perplexity_change;
  int32_t retained_edits = 0;
  std::vector<EditId> broken_edits;
  std::vector<WithdrawnScore> withdrawn;
};

// What the gate found out about one candidate.
struct GateResult {
  // verdict.passed: everything measured reaches its threshold and every number is finite.
  GateVerdict verdict;
  // One per edit, in order; `passed` when each of its own scores reaches the threshold.
  std::vector<EditVerdict> edits;
  // Whether the candidate may become a validated revision: it passed, or only finite scores below a
  // threshold speak against it and thresholds are not enforced.
  bool accepted = false;
};

// Compares what was measured with `thresholds`: the means and the numbers of the batch as a whole,
// and for its own verdict the scores of each edit. A withdrawn edit that is given as before, though
// the model without it did not give it, fails too. `targets` has one element per edit. Failures
// read "reliability 0.62 is below 0.90". What is not finite always turns the candidate down. Pure;
// thread-safe.
GateResult JudgeMeasurements(const GateMeasurements& measured,
                             absl::Span<const TargetReport> targets,
                             const GateThresholds& thresholds, bool enforced);

// Whether every number of a verdict on one edit is finite.
bool AllFinite(const EditVerdict& verdict);

}  // namespace amend

#endif  // AMEND_SERVER_GATE_VERDICT_H_
