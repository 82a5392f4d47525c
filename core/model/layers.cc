#include "core/model/layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/silu.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/gelu.h"
#include "core/model/rowwise.h"
#include "core/model/torch_device.h"

namespace amend {

bool Linear::TakesRowwise(const at::Tensor& x) const {
  return packed == nullptr && IsRowwise(x) && x.scalar_type() == weight.scalar_type();
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  if (packed != nullptr) return (*packed)(x, bias);
  if (TakesRowwise(x)) return RowwiseProduct(x, weight, {bias});
  return bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
}

at::Tensor Linear::Then(Activation activation, const at::Tensor& x) const {
  if (TakesRowwise(x)) return RowwiseProduct(x, weight, {bias, activation});
  const at::Tensor y = (*this)(x);
  switch (activation) {
    case Activation::kGeluNew:
      return GeluNew(y);
    case Activation::kGelu:
      return at::gelu(y);
    case Activation::kNone:
      break;
  }
  return y;
}

at::Tensor Linear::AddedTo(const at::Tensor& addend, const at::Tensor& x) const {
  if (TakesRowwise(x) && IsRowwise(addend)) {
    return RowwiseProduct(x, weight, {bias, Activation::kNone, addend});
  }
  return addend + (*this)(x);
}

at::Tensor Linear::Float32(const at::Tensor& x) const {
  if (TakesRowwise(x)) {
    return RowwiseProduct(x, weight, {bias, Activation::kNone, /*addend=*/{}, /*float32=*/true});
  }
  return (*this)(x).to(at::kFloat);
}

at::Tensor LayerNorm1d::operator()(const at::Tensor& x) const {
  if (IsRowwise(x) && x.scalar_type() == weight.scalar_type()) {
    return RowwiseLayerNorm(x, weight, bias, epsilon);
  }
  return at::layer_norm(x, {weight.size(0)}, weight, bias, epsilon);
}

at::Tensor RmsNorm1d::operator()(const at::Tensor& x) const {
  if (IsRowwise(x) && x.scalar_type() == weight.scalar_type()) {
    return RowwiseRmsNorm(x, weight, epsilon);
  }
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor scale = (wide.square().mean({-1}, /*keepdim=*/true) + epsilon).rsqrt();
  return (wide * scale).to(x.scalar_type()) * weight;
}

at::Tensor SiluGate(const at::Tensor& x) {
  if (IsRowwise(x)) return RowwiseSiluGate(x);
  const int64_t m = x.size(1) / 2;
  return at::silu(x.narrow(1, 0, m)) * x.narrow(1, m, m);
}

int64_t CountOf(const Linear& linear) {
  return linear.weight.numel() + (linear.bias.defined() ? linear.bias.numel() : 0);
}
int64_t CountOf(const LayerNorm1d& norm) { return norm.weight.numel() + norm.bias.numel(); }
int64_t CountOf(const RmsNorm1d& norm) { return norm.weight.numel(); }

absl::StatusOr<at::Tensor> WeightReader::ReadStored(const std::string& name,
                                                    absl::Span<const int64_t> shape) const {
  return checkpoint_.Read(name, shape, TorchDtype(options_.dtype));
}

at::Tensor WeightReader::Keep(const at::Tensor& tensor) const {
  const at::Device device = TorchDevice(options_.device);
  return device.is_cpu() ? memory_->Keep(tensor) : tensor.contiguous().to(device);
}

absl::StatusOr<at::Tensor> WeightReader::Read(const std::string& name,
                                              absl::Span<const int64_t> shape) const {
  AMEND_ASSIGN_OR_RETURN(const at::Tensor stored, ReadStored(name, shape));
  return Keep(stored);
}

absl::StatusOr<at::Tensor> WeightReader::ReadWeight(const std::string& prefix, int64_t in,
                                                    int64_t out, ProjectionLayout layout) const {
  const std::string name = absl::StrCat(prefix, ".weight");
  if (layout == ProjectionLayout::kOutIn) return ReadStored(name, {out, in});
  AMEND_ASSIGN_OR_RETURN(const at::Tensor stored, ReadStored(name, {in, out}));
  return stored.t();
}

absl::StatusOr<Linear> WeightReader::ReadLinear(const std::string& prefix, int64_t in, int64_t out,
                                                ProjectionLayout layout, bool with_bias) const {
  return ReadFused({{prefix, out}}, in, layout, with_bias);
}

absl::StatusOr<Linear> WeightReader::ReadFused(const std::vector<Part>& parts, int64_t in,
                                               ProjectionLayout layout, bool with_bias) const {
  std::vector<at::Tensor> weights, biases;
  for (const Part& part : parts) {
    AMEND_ASSIGN_OR_RETURN(at::Tensor weight, ReadWeight(part.prefix, in, part.out, layout));
    weights.push_back(std::move(weight));
    if (!with_bias) continue;
    AMEND_ASSIGN_OR_RETURN(at::Tensor bias,
                           ReadStored(absl::StrCat(part.prefix, ".bias"), {part.out}));
    biases.push_back(std::move(bias));
  }
  const auto together = [this](const std::vector<at::Tensor>& tensors) {
    return Keep(tensors.size() == 1 ? tensors[0] : at::cat(tensors, 0));
  };
  Linear linear;
  linear.weight = together(weights);
  if (with_bias) linear.bias = together(biases);
  return linear;
}

absl::StatusOr<Linear> WeightReader::ReadHead(const std::string& prefix, const ModelConfig& config,
                                              const at::Tensor& embedding) const {
  if (config.tied_head) return Linear{embedding, {}};
  return ReadLinear(prefix, config.hidden_size, config.vocabulary_size, ProjectionLayout::kOutIn,
                    /*with_bias=*/false);
}

absl::StatusOr<LayerNorm1d> WeightReader::ReadLayerNorm(const std::string& prefix, int64_t size,
                                                        double epsilon) const {
  LayerNorm1d norm;
  norm.epsilon = epsilon;
  AMEND_ASSIGN_OR_RETURN(norm.weight, Read(absl::StrCat(prefix, ".weight"), {size}));
  AMEND_ASSIGN_OR_RETURN(norm.bias, Read(absl::StrCat(prefix, ".bias"), {size}));
  return norm;
}

absl::StatusOr<RmsNorm1d> WeightReader::ReadRmsNorm(const std::string& prefix, int64_t size,
                                                    double epsilon) const {
  RmsNorm1d norm;
  norm.epsilon = epsilon;
  AMEND_ASSIGN_OR_RETURN(norm.weight, Read(absl::StrCat(prefix, ".weight"), {size}));
  return norm;
}

}  // namespace amend
