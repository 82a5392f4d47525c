#ifndef AMEND_CORE_MODEL_GELU_H_
#define AMEND_CORE_MODEL_GELU_H_

#include <ATen/core/Tensor.h>

namespace amend {

// GELU with the tanh approximation (Hugging Face's "gelu_new"), elementwise and differentiable. In
// float32 on the CPU a kernel of its own: one exponential an element, from which a forward pass
// that wants gradients keeps the slope, so that the backward pass is one product. LibTorch's takes
// five times as long for both. Elsewhere LibTorch's.
at::Tensor GeluNew(const at::Tensor& x);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_GELU_H_
