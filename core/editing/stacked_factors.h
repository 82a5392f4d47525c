#ifndef AMEND_CORE_EDITING_STACKED_FACTORS_H_
#define AMEND_CORE_EDITING_STACKED_FACTORS_H_

#include <ATen/core/Tensor.h>

namespace amend {

// The factors of r edits at one layer, one row an edit, float32. Letters: T packed tokens.
struct StackedFactors {
  at::Tensor u;  // [r, d_out]
  at::Tensor v;  // [r, d_in]
  // Edit b's output is used where v_b . x >= threshold_b. Undefined: everywhere (no scope).
  at::Tensor threshold;  // [r]

  bool empty() const { return !u.defined() || u.size(0) == 0; }
};

// What the factors add to a layer, and where.
struct AppliedFactors {
  at::Tensor output;      // [T, d_out], dtype of `output` given
  at::Tensor activation;  // [T, r], float32: v_b . x
  at::Tensor fired;       // [T, r], bool; undefined without a scope
};

// input [T, d_in], output [T, d_out] = W0 x + bias. Adds sum over fired b of (v_b . x) u_b.
AppliedFactors ApplyFactors(const StackedFactors& factors, const at::Tensor& input,
                            const at::Tensor& output);

// The rows of `a`, then those of `b` (either may be empty). Both with thresholds or both without.
StackedFactors Concatenate(const StackedFactors& a, const StackedFactors& b);

// The Frobenius inner product of two updates u'v, in float64, some rows at a time. From whole
// factors or, where that is less, from a matrix of one of them.
double UpdateProduct(const StackedFactors& a, const StackedFactors& b);

// Frobenius norm of u' v.
double UpdateNorm(const StackedFactors& factors);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_STACKED_FACTORS_H_
