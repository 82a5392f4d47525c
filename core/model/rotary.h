#ifndef AMEND_CORE_MODEL_ROTARY_H_
#define AMEND_CORE_MODEL_ROTARY_H_

#include <ATen/core/Tensor.h>

#include "core/model/model_config.h"

namespace amend {

// Rotary positions (Su et al. 2021): pairs of the first `rotary_dim` dimensions of each head turn
// by an angle that grows with the position, each pair at a frequency of its own. Immutable and
// thread-safe.
class Rotary {
 public:
  // Which dimensions make a pair: (0, 1), (2, 3), ... as in GPT-J, or (0, r/2), (1, r/2 + 1), ...
  // of r rotated ones as everywhere else.
  enum class Pairs { kNeighbours, kHalves };

  Rotary() = default;
  Rotary(const ModelConfig& config, Pairs pairs, at::Device device);

  // x [T, heads, head_dim]; positions [T], int64. Differentiable in x.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& positions) const;

 private:
  Pairs pairs_ = Pairs::kHalves;
  at::Tensor sine_;    // [context, rotary_dim / 2], float32
  at::Tensor cosine_;  // the same
};

// Turns per position of each pair, in radians [rotary_dim / 2], float32.
at::Tensor RotaryFrequencies(const ModelConfig& config);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_ROTARY_H_
