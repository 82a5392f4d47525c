#ifndef AMEND_CORE_EDITING_SCOPED_FACTORS_H_
#define AMEND_CORE_EDITING_SCOPED_FACTORS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/editing/stacked_factors.h"

namespace amend {

// Letters: T packed tokens, r edits.

// One edit's output is used at one token.
struct FiredEdit {
  int64_t token = 0;
  int64_t row = 0;       // of the factors
  float activation = 0;  // v_b . x
};

// What lets most edits be ruled out cheaply: V in 8 bits (see CodeRow), and how far off that can
// be. d_in + 12 bytes an edit, a quarter of what V takes.
struct FactorScreen {
  at::Tensor codes;  // [r, d_in], int8: of the rotated rows
  at::Tensor scale;  // [r], float32: v~_b = scale_b codes_b
  at::Tensor error;  // [r], float32: |v_b - v~_b|, rounded up
  at::Tensor norm;   // [r], float32: |v~_b|, rounded up

  // On the CPU, of `v` [r, d_in], float32.
  static FactorScreen Of(const at::Tensor& v);
  // Becomes that of `v`, in the memory of this one: of as many rows, contiguous.
  void Set(const at::Tensor& v) const;
  // Of rows [begin, begin + rows); views.
  FactorScreen Rows(int64_t begin, int64_t rows) const;
};

// The edits that fire: those with v_b . x >= threshold_b, in float32, by token, then by row. input
// [T, d_in]; `factors` have thresholds.
//
// With a screen (not null; everything on the CPU) v_b . x is first computed in 8-bit integers, and
// only where |v . x - v~ . x~| <= |v - v~| |x| + |v~| |x - x~| plus the rounding of the sums leaves
// the decision open is it computed in float32. The bound holds always: no edit that fires is
// missed. On the CPU an edit's activation at a token is their InnerProduct, so that what fires is
// the same either way, and for any number of tokens.
std::vector<FiredEdit> FindFired(const StackedFactors& factors, const FactorScreen* screen,
                                 const at::Tensor& input);

// `fired` by token. `output` [T, d_out] with sum over `fired` of activation * u_row added, float32
// inside; `output` itself when nothing fired. On the CPU. No gradient flows through it.
at::Tensor AddFired(const std::vector<FiredEdit>& fired, const at::Tensor& u,
                    const at::Tensor& output);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_SCOPED_FACTORS_H_
