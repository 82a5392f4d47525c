#include "core/editing/stacked_factors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/any.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ge.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <cmath>

namespace amend {

AppliedFactors ApplyFactors(const StackedFactors& factors, const at::Tensor& input,
                            const at::Tensor& output) {
  AppliedFactors applied;
  applied.output = output;
  if (factors.empty()) return applied;
  applied.activation = at::linear(input.to(at::kFloat), factors.v);
  at::Tensor used = applied.activation;
  if (factors.threshold.defined()) {
    applied.fired = applied.activation >= factors.threshold;
    // Most tokens have nothing to do with any edit: one look saves the second product.
    if (!applied.fired.any().item<bool>()) return applied;
    used = applied.activation * applied.fired;
  }
  applied.output = at::addmm(output.to(at::kFloat), used, factors.u).to(output.scalar_type());
  return applied;
}

StackedFactors Concatenate(const StackedFactors& a, const StackedFactors& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  StackedFactors result;
  result.u = at::cat({a.u, b.u}, 0);
  result.v = at::cat({a.v, b.v}, 0);
  if (a.threshold.defined()) result.threshold = at::cat({a.threshold, b.threshold}, 0);
  return result;
}

double UpdateNorm(const StackedFactors& factors) {
  if (factors.empty()) return 0;
  const at::Tensor u = factors.u.to(at::kDouble);
  const at::Tensor v = factors.v.to(at::kDouble);
  // |u'v|^2 = trace(v'u u'v) = sum((u u') * (v v')).
  const double square = (at::matmul(u, u.t()) * at::matmul(v, v.t())).sum().item<double>();
  return std::sqrt(std::max(square, 0.0));
}

}  // namespace amend
