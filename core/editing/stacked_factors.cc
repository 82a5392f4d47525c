#include "core/editing/stacked_factors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/any.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ge.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

namespace amend {
namespace {

constexpr int64_t kRowsAtOnce = 512;

}  // namespace

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

double UpdateProduct(const StackedFactors& a, const StackedFactors& b) {
  if (a.empty() || b.empty()) return 0;
  const int64_t d_in = a.v.size(1);
  const int64_t d_out = a.u.size(1);
  double sum = 0;
  if (b.u.size(0) * (d_in + d_out) > d_in * d_out) {
    const auto matrix = [&](const StackedFactors& factors) {
      at::Tensor dense = at::zeros({d_out, d_in}, factors.u.options().dtype(at::kDouble));
      for (int64_t begin = 0; begin < factors.u.size(0); begin += kRowsAtOnce) {
        const int64_t rows = std::min(kRowsAtOnce, factors.u.size(0) - begin);
        dense.addmm_(factors.u.narrow(0, begin, rows).t().to(at::kDouble),
                     factors.v.narrow(0, begin, rows).to(at::kDouble));
      }
      return dense;
    };
    const at::Tensor one = matrix(a);
    const bool same = a.u.is_same(b.u) && a.v.is_same(b.v);
    return (one * (same ? one : matrix(b))).sum().item<double>();
  }
  const at::Tensor u = b.u.to(at::kDouble);
  const at::Tensor v = b.v.to(at::kDouble);
  // <a, b> = trace(va' ua ub' vb) = sum((ua ub') * (va vb')).
  for (int64_t begin = 0; begin < a.u.size(0); begin += kRowsAtOnce) {
    const int64_t rows = std::min(kRowsAtOnce, a.u.size(0) - begin);
    sum += (at::matmul(a.u.narrow(0, begin, rows).to(at::kDouble), u.t()) *
            at::matmul(a.v.narrow(0, begin, rows).to(at::kDouble), v.t()))
               .sum()
               .item<double>();
  }
  return sum;
}

double UpdateNorm(const StackedFactors& factors) {
  return std::sqrt(std::max(UpdateProduct(factors, factors), 0.0));
}

}  // namespace amend
