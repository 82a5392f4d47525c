#ifndef AMEND_CORE_EDITING_TESTING_EDITING_ORACLE_H_
#define AMEND_CORE_EDITING_TESTING_EDITING_ORACLE_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <vector>

#include "absl/types/span.h"
#include "core/editing/edit_rows.h"
#include "core/editing/edit_settings.h"
#include "core/editing/factors.h"
#include "core/model/causal_lm.h"

// The editing algorithm written down as it reads, for tests to compare with: one row at a time,
// whole sequences, attention as a softmax over a masked square, dense updates of the weights, the
// scope as a loop over tokens and edits. Slow; shares no code with the engine but the model's
// blocks.

namespace amend {

struct OracleTarget {
  at::Tensor z;  // [d]
  double loss = 0;
  int steps = 0;
};

struct OracleUpdate {
  at::Tensor keys;     // [B, d_in]
  at::Tensor current;  // [B, d]
  at::Tensor u;        // [B, d_out]
  at::Tensor v;        // [B, d_in]
};

// `parents` are the batches before, each with its factors, LEVERAGE scope.
OracleTarget OracleTargetValue(const CausalLm& model, absl::Span<const RevisionFactors> parents,
                               const EditSettings& settings, const EditRows& edit);

// `targets` [B, d]; `covariances` [d_in, d_in], float64, per edited layer.
std::map<LayerIndex, OracleUpdate> OracleSolveLayers(
    const CausalLm& model, absl::Span<const RevisionFactors> parents, const EditSettings& settings,
    absl::Span<const EditRows> edits, const at::Tensor& targets,
    const std::map<LayerIndex, at::Tensor>& covariances);

// What the projection of `layer` puts out for input [T, d_in] after the batches `parents`: output +
// the sum over the edits that fire, edit by edit and token by token.
at::Tensor OracleScopedOutput(absl::Span<const RevisionFactors> parents, double beta,
                              LayerIndex layer, const at::Tensor& input, const at::Tensor& output);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_TESTING_EDITING_ORACLE_H_
