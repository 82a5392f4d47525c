#include "core/model/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <vector>

#include "core/base/testing/tensor_matchers.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

ModelConfig NewConfig(int rotary_dim) {
  ModelConfig config;
  config.rotary_dim = rotary_dim;
  config.rotary_base = 100;
  config.context_length = 50;
  return config;
}

// Turns the pair (a, b) of the head at `x` [e].
void Turn(at::Tensor x, int64_t a, int64_t b, double angle) {
  const double from_a = x[a].item<double>(), from_b = x[b].item<double>();
  x[a].fill_(from_a * std::cos(angle) - from_b * std::sin(angle));
  x[b].fill_(from_b * std::cos(angle) + from_a * std::sin(angle));
}

TEST(RotaryTest, PairsTurnByTheirFrequencyTimesThePosition) {
  const at::Tensor x = at::randn({3, 2, 6});
  const std::vector<int64_t> positions = {0, 7, 49};
  for (const Rotary::Pairs pairs : {Rotary::Pairs::kNeighbours, Rotary::Pairs::kHalves}) {
    // The last two of six dimensions stand still.
    const Rotary rotary(NewConfig(4), pairs, at::kCPU);
    const at::Tensor expected = x.clone();
    for (int64_t token = 0; token < 3; ++token) {
      for (int64_t head = 0; head < 2; ++head) {
        for (int64_t pair = 0; pair < 2; ++pair) {
          const bool halves = pairs == Rotary::Pairs::kHalves;
          Turn(expected[token][head], halves ? pair : 2 * pair, halves ? pair + 2 : 2 * pair + 1,
               positions[token] * std::pow(100.0, -pair / 2.0));
        }
      }
    }
    EXPECT_THAT(rotary(x, at::tensor(positions, at::kLong)), TensorNear(expected, 1e-5));
  }
}

TEST(RotaryTest, LinearScalingDividesEveryFrequency) {
  ModelConfig config = NewConfig(4);
  config.rotary_scaling.kind = RotaryScaling::Kind::kLinear;
  config.rotary_scaling.factor = 8;
  EXPECT_THAT(RotaryFrequencies(config), TensorNear(at::tensor({0.125f, 0.0125f}), 1e-7));
}

// Frequencies 1, 0.1, 0.01: the original context of 20 holds 3.2, 0.32 and 0.03 turns.
TEST(RotaryTest, Llama3ScalingDividesLowFrequenciesAndBlendsBetween) {
  ModelConfig config = NewConfig(6);
  config.rotary_base = 1000;
  config.rotary_scaling = {RotaryScaling::Kind::kLlama3, 8, 0.1, 1, 20};
  const double turns = 0.1 * 20 / (2 * M_PI);
  const double high = (turns - 0.1) / (1 - 0.1);
  EXPECT_THAT(
      RotaryFrequencies(config),
      TensorRelativelyNear(at::tensor({1.0, 0.1 * (high + (1 - high) / 8), 0.01 / 8}), 1e-6));
}

}  // namespace
}  // namespace amend
