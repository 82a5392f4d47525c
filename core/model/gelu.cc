// Compiled once per instruction set; the one that the machine has is chosen at run time (Highway).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/model/gelu.cc"
#include "core/model/gelu.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/base/parallel.h"

// In this order.
// clang-format off
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "core/model/gelu-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace amend {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Also the slope dy/dx, unless `slope` is null.
void Gelu(const float* x, float* y, float* slope, int64_t count) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto value = hn::Zero(d);
  auto derivative = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    GeluAndSlope(d, hn::LoadU(d, x + i), &value, &derivative);
    hn::StoreU(value, d, y + i);
    if (slope != nullptr) hn::StoreU(derivative, d, slope + i);
  }
  for (; i < count; ++i) {
    GeluAndSlope(d, hn::Set(d, x[i]), &value, &derivative);
    y[i] = hn::GetLane(value);
    if (slope != nullptr) slope[i] = hn::GetLane(derivative);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace amend
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace amend {
namespace {

HWY_EXPORT(Gelu);

// Numbers of one thread's share.
constexpr int64_t kNumbersAtOnce = 16384;

// `slope` may be undefined.
at::Tensor Evaluate(const at::Tensor& x, const at::Tensor& slope) {
  const at::Tensor y = at::empty_like(x);
  const float* const in = x.const_data_ptr<float>();
  float* const out = y.mutable_data_ptr<float>();
  float* const rise = slope.defined() ? slope.mutable_data_ptr<float>() : nullptr;
  ParallelFor(0, x.numel(), kNumbersAtOnce, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(Gelu)
    (in + begin, out + begin, rise == nullptr ? nullptr : rise + begin, end - begin);
  });
  return y;
}

class GeluFunction : public torch::autograd::Function<GeluFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x) {
    const at::Tensor slope = at::empty_like(x);
    context->saved_data["slope"] = slope;
    return Evaluate(x, slope);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    return {gradients[0] * context->saved_data["slope"].toTensor()};
  }
};

}  // namespace

at::Tensor GeluNew(const at::Tensor& x) {
  if (!x.device().is_cpu() || x.scalar_type() != at::kFloat) return at::gelu(x, "tanh");
  if (x.requires_grad() && at::GradMode::is_enabled()) return GeluFunction::apply(x.contiguous());
  return Evaluate(x.contiguous(), at::Tensor());
}

}  // namespace amend
#endif  // HWY_ONCE
