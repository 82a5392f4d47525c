#include "core/editing/symmetric_sum.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace amend {
namespace {

// Narrow panels save more arithmetic, wide ones multiply faster.
constexpr int64_t kPanelsWanted = 8;
constexpr int64_t kMinWidth = 256;
constexpr int64_t kWidthStep = 64;

int64_t PanelWidth(int64_t size) {
  const int64_t width = std::max(kMinWidth, (size + kPanelsWanted - 1) / kPanelsWanted);
  return (width + kWidthStep - 1) / kWidthStep * kWidthStep;
}

}  // namespace

SymmetricSum::SymmetricSum(int64_t size, at::Device device)
    : size_(size), width_(PanelWidth(size)) {
  const auto options = at::TensorOptions().dtype(at::kDouble).device(device);
  for (int64_t start = 0; start < size; start += width_) {
    panels_.push_back(at::zeros({std::min(width_, size - start), size - start}, options));
  }
}

void SymmetricSum::Add(const at::Tensor& rows) {
  const at::Tensor keys = rows.to(at::kFloat);
  int64_t start = 0;
  for (at::Tensor& panel : panels_) {
    panel +=
        at::matmul(keys.narrow(1, start, panel.size(0)).t(), keys.narrow(1, start, size_ - start));
    start += panel.size(0);
  }
}

at::Tensor SymmetricSum::Dense() const {
  at::Tensor dense = at::empty(
      {size_, size_}, panels_.empty() ? at::TensorOptions(at::kDouble) : panels_[0].options());
  int64_t start = 0;
  for (const at::Tensor& panel : panels_) {
    const int64_t height = panel.size(0);
    const int64_t rest = panel.size(1) - height;
    const at::Tensor square = panel.narrow(1, 0, height);
    dense.narrow(0, start, height)
        .narrow(1, start, height)
        .copy_(square.triu() + square.triu(1).t());
    if (rest > 0) {
      const at::Tensor right = panel.narrow(1, height, rest);
      dense.narrow(0, start, height).narrow(1, start + height, rest).copy_(right);
      dense.narrow(0, start + height, rest).narrow(1, start, height).copy_(right.t());
    }
    start += height;
  }
  return dense;
}

absl::Status SymmetricSum::Restore(const std::vector<at::Tensor>& panels) {
  if (panels.size() != panels_.size()) {
    return absl::InvalidArgumentError(absl::StrCat("a sum of size ", size_, " has ", panels_.size(),
                                                   " panels, not ", panels.size()));
  }
  for (size_t i = 0; i < panels.size(); ++i) {
    if (panels[i].sizes() != panels_[i].sizes() || panels[i].scalar_type() != at::kDouble) {
      return absl::InvalidArgumentError(
          absl::StrCat("panel ", i, " of a sum of size ", size_, " is float64 of [",
                       absl::StrJoin(panels_[i].sizes(), ", "), "], not ",
                       c10::toString(panels[i].scalar_type()), " of [",
                       absl::StrJoin(panels[i].sizes(), ", "), "]"));
    }
  }
  for (size_t i = 0; i < panels.size(); ++i) panels_[i].copy_(panels[i]);
  return absl::OkStatus();
}

}  // namespace amend
