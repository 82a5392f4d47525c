#ifndef AMEND_CORE_MODEL_TORCH_DEVICE_H_
#define AMEND_CORE_MODEL_TORCH_DEVICE_H_

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "core/model/causal_lm.h"

namespace amend {

// LibTorch's names for where a model's tensors are and what they hold.
inline c10::Device TorchDevice(Device device) {
  return c10::Device(device == Device::kCuda ? c10::kCUDA : c10::kCPU);
}
inline c10::Device TorchDevice(const CausalLm& model) {
  return TorchDevice(model.load_options().device);
}
inline c10::ScalarType TorchDtype(Dtype dtype) {
  return dtype == Dtype::kBFloat16 ? c10::kBFloat16 : c10::kFloat;
}
inline c10::ScalarType TorchDtype(const CausalLm& model) {
  return TorchDtype(model.load_options().dtype);
}

}  // namespace amend

#endif  // AMEND_CORE_MODEL_TORCH_DEVICE_H_
