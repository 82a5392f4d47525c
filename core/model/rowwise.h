#ifndef AMEND_CORE_MODEL_ROWWISE_H_
#define AMEND_CORE_MODEL_ROWWISE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/model/activation.h"

// What a model does for each token, apart from attention: kernels of our own (product_kernels.h,
// amx_product.h), for inference on the CPU. For the few rows of a decoding step a product takes as
// long as reading its weight does, where LibTorch's are up to twice as slow; small operations cost
// LibTorch more in calls than in work. Letters: T rows.
//
// Each row of a result depends on that row of the input alone, bit for bit: not on the number of
// rows, the others, or the number of threads.

namespace amend {

// Whether the functions below take `x`: on the CPU, float32 or bfloat16, of one row or more, and
// not part of a computation that gradients are taken of.
bool IsRowwise(const at::Tensor& x);

// All that may follow a product: y = activation(x W' + bias) + addend.
struct ProductEnd {
  at::Tensor bias = {};  // [out]; may be undefined
  Activation activation = Activation::kNone;
  at::Tensor addend = {};  // [T, out]; may be undefined
  // Otherwise the dtype of x.
  bool float32 = false;
};

// x [T, in], IsRowwise; weight [out, in], contiguous. Both, and the tensors of `end`, in one dtype.
// Returns [T, out]. Sums are float32, rounded once, at the end.
at::Tensor RowwiseProduct(const at::Tensor& x, const at::Tensor& weight, const ProductEnd& end);

// x [T, d], IsRowwise; weight, bias [d], of its dtype. Computed in float32.
at::Tensor RowwiseLayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            double epsilon);

// x [T, d], IsRowwise; weight [d], of its dtype. Computed in float32.
at::Tensor RowwiseRmsNorm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

// x [T, 2 m], IsRowwise: gates, then what they gate. Returns silu(gate) * up, [T, m]; computed in
// float32.
at::Tensor RowwiseSiluGate(const at::Tensor& x);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_ROWWISE_H_
