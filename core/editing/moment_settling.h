#ifndef AMEND_CORE_EDITING_MOMENT_SETTLING_H_
#define AMEND_CORE_EDITING_MOMENT_SETTLING_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/editing/settling_step.h"
#include "core/editing/symmetric_sum.h"

namespace amend {

// Follows how one layer's mean moment M = sum / tokens settles. It keeps one earlier mean (float32)
// and a fixed sample of keys with their directions M^-1 k, whatever the number of steps. Not
// thread-safe. Letters: n the size of a key, s keys in the sample.
class MomentSettling {
 public:
  explicit MomentSettling(LayerIndex layer) : layer_(layer) {}

  // `keys` [T, n]: at most 32 of them, evenly spaced, become the sample. Calls after the first do
  // nothing.
  void TakeSample(const at::Tensor& keys);
  // Records a step since the last call, and keeps this mean to compare the next one with.
  void Observe(const SymmetricSum& sum, int64_t tokens);
  const std::vector<SettlingStep>& steps() const { return steps_; }

  // All that Observe depends on besides its arguments. Plain data.
  struct State {
    int64_t tokens = 0;
    at::Tensor sample;                // [s, n], float32; undefined before TakeSample
    std::vector<at::Tensor> earlier;  // panels of the earlier mean, float32; empty at first
    at::Tensor directions;            // [s, n], float64; undefined when M was singular
    std::vector<SettlingStep> steps;
  };
  State state() const { return {tokens_, sample_, earlier_, directions_, steps_}; }
  void Restore(State state);

 private:
  const LayerIndex layer_;
  int64_t tokens_ = 0;
  at::Tensor sample_;
  std::vector<at::Tensor> earlier_;
  at::Tensor directions_;
  std::vector<SettlingStep> steps_;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_MOMENT_SETTLING_H_
