#ifndef AMEND_CORE_MODEL_FEW_ROWS_H_
#define AMEND_CORE_MODEL_FEW_ROWS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/model/activation.h"

// What decoding does for each token, over the few rows of a step: kernels of our own
// (product_kernels.h, amx_product.h), for inference on the CPU. There a product takes as long as
// reading its weight does, and LibTorch's are up to twice as slow; the small operations around it
// cost LibTorch more in calls than in work. Letters: T rows.
//
// Each row of a result depends on that row of the input alone, bit for bit: not on the number of
// rows, the others, or the number of threads.

namespace amend {

// Up to so many rows these are faster than LibTorch's.
constexpr int64_t kFewRows = 32;

// Whether the functions below take `x`: on the CPU, float32 or bfloat16, of 1 to kFewRows rows, and
// not part of a computation that gradients are taken of.
bool IsFewRows(const at::Tensor& x);

// All that may follow a product: y = activation(x W' + bias) + addend.
struct ProductEnd {
  at::Tensor bias = {};  // [out]; may be undefined
  Activation activation = Activation::kNone;
  at::Tensor addend = {};  // [T, out]; may be undefined
  // Otherwise the dtype of x.
  bool float32 = false;
};

// x [T, in], IsFewRows; weight [out, in], contiguous. Both, and the tensors of `end`, in one dtype.
// Returns [T, out]. Sums are float32, rounded once, at the end.
at::Tensor FewRowsProduct(const at::Tensor& x, const at::Tensor& weight, const ProductEnd& end);

// x [T, d], IsFewRows; weight, bias [d], of its dtype. Computed in float32.
at::Tensor FewRowsLayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            double epsilon);

// x [T, d], IsFewRows; weight [d], of its dtype. Computed in float32.
at::Tensor FewRowsRmsNorm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

// x [T, 2 m], IsFewRows: gates, then what they gate. Returns silu(gate) * up, [T, m]; computed in
// float32.
at::Tensor FewRowsSiluGate(const at::Tensor& x);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_FEW_ROWS_H_
