#ifndef AMEND_CORE_EDITING_LAYER_UPDATES_H_
#define AMEND_CORE_EDITING_LAYER_UPDATES_H_

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/editing/edit_rows.h"
#include "core/editing/edit_settings.h"
#include "core/editing/hook_stack.h"
#include "core/editing/key_solver.h"
#include "core/editing/stacked_factors.h"
#include "core/model/causal_lm.h"

namespace amend {

// What solving one layer saw and made. B edits.
struct LayerUpdate {
  at::Tensor keys;         // [B, d_in], float32
  at::Tensor current;      // [B, d], float32: output of block l_m before this layer's update
  at::Tensor u;            // [B, d_out], float32: residuals / activations
  at::Tensor v;            // [B, d_in], float32: (C + K K')^-1 k
  at::Tensor activations;  // [B], float32: v_b . k_b
  double key_seconds = 0;  // that `keys` and `current` took
};

// Of each edited layer, what a line keeps for the batches to come.
using LineLayers = std::map<LayerIndex, KeySolver>;

// The layer loop of arXiv 2403.05330, algorithm 1, for the serving scope: for each edited layer in
// turn keys, residuals towards `target_values` [B, d], and factors. Two things differ from the
// paper (docs/decisions/0006): all layers use the serving scope throughout, so that residuals are
// measured on what will be served; and u is divided by the edit's own activation, so that an edit
// adds its whole residual at its own key however strongly the covariance damps it.
//
// `line` is the parent's, for each edited layer. The edits in it stay what they are; what it keeps
// of them may change its form. `after_layer(done, total)`: false cancels.
absl::StatusOr<std::map<LayerIndex, LayerUpdate>> SolveLayers(
    const CausalLm& model, const HookStack& parent, const EditSettings& settings,
    absl::Span<const EditRows> edits, const at::Tensor& target_values, LineLayers* line,
    const std::function<bool(int done, int total)>& after_layer);

// The same with `covariances` [d_in, d_in], float64, per edited layer, instead of a line.
// FAILED_PRECONDITION when one is singular.
absl::StatusOr<std::map<LayerIndex, LayerUpdate>> SolveLayers(
    const CausalLm& model, const HookStack& parent, const EditSettings& settings,
    absl::Span<const EditRows> edits, const at::Tensor& target_values,
    const std::map<LayerIndex, at::Tensor>& covariances,
    const std::function<bool(int done, int total)>& after_layer);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_LAYER_UPDATES_H_
