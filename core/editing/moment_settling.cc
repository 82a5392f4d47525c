#include "core/editing/moment_settling.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/linalg_cholesky_ex.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace amend {
namespace {

constexpr int64_t kSampleSize = 32;

// Sum of squares of the symmetric matrix that panels stand for.
double SquaredNorm(const std::vector<at::Tensor>& panels) {
  double total = 0;
  for (const at::Tensor& panel : panels) {
    const int64_t height = panel.size(0);
    total += panel.narrow(1, 0, height).square().sum().item<double>();
    total += 2 * panel.narrow(1, height, panel.size(1) - height).square().sum().item<double>();
  }
  return total;
}

// M^-1 k for the rows k of `keys` [s, n]; undefined when M is singular.
at::Tensor Directions(const at::Tensor& moment, const at::Tensor& keys) {
  const auto [factor, failed_minor] = at::linalg_cholesky_ex(moment);
  if (failed_minor.item<int>() != 0) return at::Tensor();
  return at::cholesky_solve(keys.to(at::kDouble).t(), factor).t().contiguous();
}

void CompareDirections(const at::Tensor& sample, const at::Tensor& before, const at::Tensor& now,
                       SettlingStep* step) {
  const at::Tensor cosine =
      (before * now).sum(1) / (before.square().sum(1).sqrt() * now.square().sum(1).sqrt());
  const at::Tensor keys = sample.to(at::kDouble);
  const at::Tensor leverage = (keys * now).sum(1);
  const at::Tensor change = (leverage - (keys * before).sum(1)).abs() / leverage;
  step->median_cosine = cosine.median().item<double>();
  step->smallest_cosine = cosine.min().item<double>();
  step->median_leverage_change = change.median().item<double>();
}

}  // namespace

void MomentSettling::TakeSample(const at::Tensor& keys) {
  if (sample_.defined() || keys.size(0) == 0) return;
  const int64_t count = std::min(kSampleSize, keys.size(0));
  const at::Tensor rows =
      at::arange(count, at::TensorOptions().dtype(at::kLong).device(keys.device())) * keys.size(0) /
      count;
  sample_ = keys.index_select(0, rows.floor().to(at::kLong)).to(at::kFloat);
}

void MomentSettling::Observe(const SymmetricSum& sum, int64_t tokens) {
  std::vector<at::Tensor> means;
  for (const at::Tensor& panel : sum.panels()) {
    means.push_back((panel / static_cast<double>(tokens)).to(at::kFloat));
  }
  // A moment of fewer keys than dimensions is singular, though rounding may hide it.
  at::Tensor directions;
  if (sample_.defined() && tokens >= sum.size()) {
    directions = Directions(sum.Dense() / static_cast<double>(tokens), sample_);
  }
  if (!earlier_.empty()) {
    SettlingStep step;
    step.layer = layer_;
    step.from_tokens = tokens_;
    step.to_tokens = tokens;
    for (size_t i = 0; i < means.size(); ++i) earlier_[i] -= means[i];
    step.moment_change = std::sqrt(SquaredNorm(earlier_) / SquaredNorm(means));
    if (directions.defined() && directions_.defined()) {
      CompareDirections(sample_, directions_, directions, &step);
    }
    steps_.push_back(step);
  }
  earlier_ = std::move(means);
  directions_ = std::move(directions);
  tokens_ = tokens;
}

void MomentSettling::Restore(State state) {
  tokens_ = state.tokens;
  sample_ = std::move(state.sample);
  earlier_ = std::move(state.earlier);
  directions_ = std::move(state.directions);
  steps_ = std::move(state.steps);
}

}  // namespace amend
