#include "core/model/packed_weight.h"

#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <string_view>

#include "core/model/torch_device.h"

namespace amend {
namespace {

// LibTorch's wrappers of oneDNN's inner product. They have no C++ header.
at::Tensor Reorder(const at::Tensor& weight, int64_t rows) {
  static const auto reorder = c10::Dispatcher::singleton()
                                  .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                                  .typed<at::Tensor(const at::Tensor&, std::optional<int64_t>)>();
  return reorder.call(weight.contiguous(), rows);
}

at::Tensor Product(const at::Tensor& x, const at::Tensor& packed, std::optional<at::Tensor> bias,
                   at::ScalarType dtype) {
  using Signature = at::Tensor(
      const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
      c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
  static const auto linear = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                                 .typed<Signature>();
  if (bias.has_value()) bias = bias->to(dtype);
  return linear
      .call(x.to(dtype).contiguous(), packed, bias, "none", c10::List<std::optional<at::Scalar>>(),
            "")
      .to(at::kFloat);
}

class FrozenProduct : public torch::autograd::Function<FrozenProduct> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& forward_weight, const at::Tensor& backward_weight,
                            const std::optional<at::Tensor>& bias, at::ScalarType dtype) {
    context->saved_data["weight"] = backward_weight;
    context->saved_data["dtype"] = static_cast<int64_t>(dtype);
    return Product(x, forward_weight, bias, dtype);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto dtype = static_cast<at::ScalarType>(context->saved_data["dtype"].toInt());
    return {Product(gradients[0], context->saved_data["weight"].toTensor(), std::nullopt, dtype),
            at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

std::shared_ptr<const PackedWeight> PackedWeight::Pack(const at::Tensor& weight, Dtype dtype,
                                                       int64_t rows) {
  auto packed = std::shared_ptr<PackedWeight>(new PackedWeight());
  packed->dtype_ = TorchDtype(dtype);
  packed->forward_ = Reorder(weight.to(packed->dtype_), rows);
  packed->backward_ = Reorder(weight.t().to(packed->dtype_), rows);
  return packed;
}

at::Tensor PackedWeight::operator()(const at::Tensor& x, const at::Tensor& bias) const {
  std::optional<at::Tensor> added;
  if (bias.defined()) added = bias;
  if (!x.requires_grad()) return Product(x, forward_, added, dtype_);
  return FrozenProduct::apply(x, forward_, backward_, added, dtype_);
}

}  // namespace amend
