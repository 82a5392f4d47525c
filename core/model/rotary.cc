#include "core/model/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/stack.h>

#include <cmath>

namespace amend {
namespace {

constexpr double kTurn = 2 * 3.14159265358979323846;

at::Tensor Float32Range(int64_t begin, int64_t end, int64_t step) {
  return at::arange(begin, end, step, at::TensorOptions().dtype(at::kFloat));
}

}  // namespace

at::Tensor RotaryFrequencies(const ModelConfig& config) {
  const at::Tensor plain =
      at::pow(config.rotary_base, Float32Range(0, config.rotary_dim, 2) / config.rotary_dim)
          .reciprocal();
  const RotaryScaling& scaling = config.rotary_scaling;
  switch (scaling.kind) {
    case RotaryScaling::Kind::kLinear:
      return plain / scaling.factor;
    case RotaryScaling::Kind::kLlama3: {
      // Turns that the original context holds; 0 to 1 from low frequencies to high ones.
      const at::Tensor turns = plain * (scaling.original_context_length / kTurn);
      const at::Tensor high = ((turns - scaling.low_frequency_factor) /
                               (scaling.high_frequency_factor - scaling.low_frequency_factor))
                                  .clamp(0, 1);
      return (1 - high) * plain / scaling.factor + high * plain;
    }
    case RotaryScaling::Kind::kNone:
      break;
  }
  return plain;
}

Rotary::Rotary(const ModelConfig& config, Pairs pairs, at::Device device) : pairs_(pairs) {
  const at::Tensor angles =
      at::outer(Float32Range(0, config.context_length, 1), RotaryFrequencies(config));
  sine_ = angles.sin().to(device);
  cosine_ = angles.cos().to(device);
}

at::Tensor Rotary::operator()(const at::Tensor& x, const at::Tensor& positions) const {
  const int64_t half = sine_.size(1);
  const at::Tensor sine = sine_.index_select(0, positions).unsqueeze(1).to(x.scalar_type());
  const at::Tensor cosine = cosine_.index_select(0, positions).unsqueeze(1).to(x.scalar_type());
  const at::Tensor rest = x.narrow(2, 2 * half, x.size(2) - 2 * half);
  if (pairs_ == Pairs::kHalves) {
    const at::Tensor a = x.narrow(2, 0, half);
    const at::Tensor b = x.narrow(2, half, half);
    return at::cat({a * cosine - b * sine, b * cosine + a * sine, rest}, 2);
  }
  const at::Tensor pairs = x.narrow(2, 0, 2 * half).reshape({x.size(0), x.size(1), half, 2});
  const at::Tensor a = pairs.select(3, 0);
  const at::Tensor b = pairs.select(3, 1);
  return at::cat({at::stack({a * cosine - b * sine, b * cosine + a * sine}, 3).flatten(2), rest},
                 2);
}

}  // namespace amend
