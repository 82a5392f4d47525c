#ifndef AMEND_CORE_EDITING_FACTORS_H_
#define AMEND_CORE_EDITING_FACTORS_H_

#include <cstdint>
#include <set>
#include <vector>

#include "core/base/matrix.h"
#include "core/base/types.h"

namespace amend {

// What one batch of b edits adds to one layer; row i belongs to edit i. The layer's update is u' *
// v (arXiv 2403.05330, section 3.2): v = (C + K K')^-1 K, and u = R, each residual divided by its
// edit's activation (docs/decisions/0006).
struct LayerFactors {
  LayerIndex layer;
  Matrix u;     // [b, d_out]
  Matrix v;     // [b, d_in]
  Matrix keys;  // [b, d_in]
  // Activation of each edit's own key, v_i . k_i. [b]
  std::vector<float> activations;
};

// The factors of one batch, edited layers in ascending order.
struct RevisionFactors {
  std::vector<LayerFactors> layers;
};

// `factors` less the edits at `indices` of their batch; the others keep their order.
RevisionFactors WithoutEdits(const RevisionFactors& factors, const std::set<int32_t>& indices);

// Frobenius norm of a layer's whole update over that of its base weight.
struct LayerNorm {
  LayerIndex layer;
  double update_norm_ratio = 0;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_FACTORS_H_
