#ifndef AMEND_CORE_EDITING_REFERENCE_EDITOR_H_
#define AMEND_CORE_EDITING_REFERENCE_EDITOR_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/background_factors.h"
#include "core/editing/edit.h"
#include "core/editing/edit_settings.h"
#include "core/editing/key_covariance.h"
#include "core/editing/key_solver.h"
#include "core/editing/reference_forward.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

// What consecutive batches under EditScope::kReference have made. Copies share what they can and
// grow by themselves.
struct ReferenceLine {
  ReferenceLayers layers;
  // Per edited layer: C = lambda * Cov + sum of k k' over all edits so far.
  std::map<LayerIndex, KeySolver> solvers;
};

// What one batch became.
struct ReferenceSolution {
  ReferenceLine line;        // the parent's with this batch
  at::Tensor target_values;  // [B, d], float32
  // Per edit, in order.
  std::vector<TargetReport> targets;
};

// (z - current) / share, times X' with X = (C + K K')^-1 K: what one batch adds to a layer's
// update. keys [B, d_in]; target_values and current [B, d]. Returns [d, d_in], float64. Does not
// add the keys to `solver`.
absl::StatusOr<at::Tensor> UpdateIncrement(KeySolver* solver, const at::Tensor& keys,
                                           const at::Tensor& target_values,
                                           const at::Tensor& current, double share);

// The smallest of alpha and the scores; scores that are not a number do not count.
double LoweredAlpha(double alpha, const at::Tensor& largest_scores);

// Solves batches of edits as the paper's published code does (arXiv 2403.05330, algorithm 1, with
// the z-score scope), number for number up to rounding: for comparison with the paper, not for
// serving. Thread-compatible.
class ReferenceEditor {
 public:
  // INVALID_ARGUMENT, naming both values, when settings, covariance and model do not fit each
  // other.
  static absl::StatusOr<std::unique_ptr<ReferenceEditor>> Create(
      std::shared_ptr<const CausalLm> model, std::shared_ptr<const Tokenizer> tokenizer,
      EditSettings settings, KeyCovariance covariance);

  // The line that begins at the unedited model.
  ReferenceLine NewLine() const;

  // Solves one batch of at least one edit on top of `parent`. INVALID_ARGUMENT for edits that
  // ValidateEdits turns down; ABORTED with "not finite" when the solution is not finite.
  absl::StatusOr<ReferenceSolution> Solve(const ReferenceLine& parent,
                                          absl::Span<const Edit> edits) const;

  // The same from target values [B, d] that are given; the solution has no `targets`.
  absl::StatusOr<ReferenceSolution> SolveGiven(const ReferenceLine& parent,
                                               absl::Span<const Edit> edits,
                                               const at::Tensor& target_values) const;

 private:
  ReferenceEditor(std::shared_ptr<const CausalLm> model, std::shared_ptr<const Tokenizer> tokenizer,
                  EditSettings settings, BackgroundFactors background);
  absl::StatusOr<std::vector<EditRows>> Rows(absl::Span<const Edit> edits) const;
  // The layer loop and the new alphas: adds the batch to `solution->line`.
  absl::Status Extend(absl::Span<const EditRows> edits, ReferenceSolution* solution) const;
  absl::Status SolveLayers(absl::Span<const EditRows> edits, ReferenceSolution* solution) const;

  const std::shared_ptr<const CausalLm> model_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const EditSettings settings_;
  const BackgroundFactors background_;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_REFERENCE_EDITOR_H_
