#include "core/editing/cholesky_factor.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace amend {
namespace {

constexpr int64_t kBlock = CholeskyFactor::kBlock;

// Subtracts what the block columns before `begin` contribute to rows [begin, d) of the next ones.
void SubtractEarlier(const std::vector<at::Tensor>& columns, int64_t begin, int64_t width,
                     at::Tensor* target) {
  for (size_t k = 0; k < columns.size(); ++k) {
    const int64_t skipped = begin - static_cast<int64_t>(k) * kBlock;
    const at::Tensor below = columns[k].narrow(0, skipped, columns[k].size(0) - skipped);
    target->addmm_(below, below.narrow(0, 0, width).t(), 1, -1);
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CholeskyFactor>> CholeskyFactor::Factor(
    int64_t size, const MatrixColumns& matrix) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> columns;
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t width = std::min(kBlock, size - begin);
    at::Tensor column = matrix(begin, width);
    SubtractEarlier(columns, begin, width, &column);
    const auto [corner, failed_minor] = at::linalg_cholesky_ex(column.narrow(0, 0, width));
    if (const int failed = failed_minor.item<int>(); failed != 0) {
      return absl::FailedPreconditionError(absl::StrCat("its leading minor of order ",
                                                        begin + failed, " of ", size,
                                                        " is not positive definite"));
    }
    column.narrow(0, 0, width).copy_(corner);
    if (const int64_t rest = size - begin - width; rest > 0) {
      at::Tensor below = column.narrow(0, width, rest);
      below.copy_(at::linalg_solve_triangular(corner.t(), below, /*upper=*/true, /*left=*/false));
    }
    columns.push_back(std::move(column));
  }
  return std::shared_ptr<const CholeskyFactor>(new CholeskyFactor(size, std::move(columns)));
}

absl::StatusOr<std::shared_ptr<const CholeskyFactor>> CholeskyFactor::Of(const at::Tensor& matrix,
                                                                         double scale) {
  const int64_t size = matrix.size(0);
  return Factor(size, [&](int64_t begin, int64_t width) {
    return matrix.narrow(0, begin, size - begin).narrow(1, begin, width).to(at::kDouble) * scale;
  });
}

absl::StatusOr<std::shared_ptr<const CholeskyFactor>> CholeskyFactor::FromBlockColumns(
    std::vector<at::Tensor> columns) {
  if (columns.empty()) return absl::InvalidArgumentError("a Cholesky factor of no columns");
  const int64_t size = columns[0].size(0);
  int64_t begin = 0;
  for (const at::Tensor& column : columns) {
    if (begin >= size || column.dim() != 2 || column.size(0) != size - begin ||
        column.size(1) != std::min(kBlock, size - begin) || column.scalar_type() != at::kDouble) {
      return absl::InvalidArgumentError(absl::StrCat(
          "block column at ", begin, " of a Cholesky factor of size ", size, " does not fit"));
    }
    begin += column.size(1);
  }
  if (begin != size) {
    return absl::InvalidArgumentError(
        absl::StrCat("a Cholesky factor of size ", size, " ends at column ", begin));
  }
  return std::shared_ptr<const CholeskyFactor>(new CholeskyFactor(size, std::move(columns)));
}

absl::StatusOr<std::shared_ptr<const CholeskyFactor>> CholeskyFactor::WithKeys(
    const at::Tensor& keys) const {
  return Factor(size_, [&](int64_t begin, int64_t width) {
    at::Tensor sum =
        at::matmul(keys.narrow(1, begin, size_ - begin).t(), keys.narrow(1, begin, width));
    for (size_t k = 0; k < columns_.size(); ++k) {
      const int64_t skipped = begin - static_cast<int64_t>(k) * kBlock;
      if (skipped < 0) break;
      const at::Tensor below = columns_[k].narrow(0, skipped, size_ - begin);
      sum.addmm_(below, below.narrow(0, 0, width).t());
    }
    return sum;
  });
}

std::shared_ptr<const CholeskyFactor> CholeskyFactor::To(at::Device device) const {
  if (columns_[0].device() == device) return shared_from_this();
  std::vector<at::Tensor> columns;
  for (const at::Tensor& column : columns_) columns.push_back(column.to(device));
  return std::shared_ptr<const CholeskyFactor>(new CholeskyFactor(size_, std::move(columns)));
}

int64_t CholeskyFactor::bytes() const {
  int64_t sum = 0;
  for (const at::Tensor& column : columns_) sum += column.numel() * column.element_size();
  return sum;
}

at::Tensor CholeskyFactor::Whiten(const at::Tensor& rows) const {
  const at::NoGradGuard no_grad;
  at::Tensor left = rows.clone(at::MemoryFormat::Contiguous);
  at::Tensor result = at::empty(rows.sizes(), rows.options());
  int64_t begin = 0;
  for (const at::Tensor& column : columns_) {
    const int64_t width = column.size(1);
    const at::Tensor part = at::linalg_solve_triangular(
        column.narrow(0, 0, width).t(), left.narrow(1, begin, width), /*upper=*/true,
        /*left=*/false);
    result.narrow(1, begin, width).copy_(part);
    begin += width;
    if (begin < size_) {
      left.narrow(1, begin, size_ - begin)
          .addmm_(part, column.narrow(0, width, size_ - begin).t(), 1, -1);
    }
  }
  return result;
}

at::Tensor CholeskyFactor::Unwhiten(const at::Tensor& rows) const {
  const at::NoGradGuard no_grad;
  at::Tensor result = at::empty(rows.sizes(), rows.options());
  int64_t end = size_;
  for (auto column = columns_.rbegin(); column != columns_.rend(); ++column) {
    const int64_t width = column->size(1);
    const int64_t begin = end - width;
    at::Tensor part = rows.narrow(1, begin, width);
    if (end < size_) {
      part = part -
             at::matmul(result.narrow(1, end, size_ - end), column->narrow(0, width, size_ - end));
    }
    result.narrow(1, begin, width)
        .copy_(at::linalg_solve_triangular(column->narrow(0, 0, width), part, /*upper=*/false,
                                           /*left=*/false));
    end = begin;
  }
  return result;
}

at::Tensor CholeskyFactor::Multiply(const at::Tensor& rows) const {
  const at::NoGradGuard no_grad;
  at::Tensor result = at::zeros(rows.sizes(), rows.options());
  int64_t begin = 0;
  for (const at::Tensor& column : columns_) {
    const int64_t width = column.size(1);
    result.narrow(1, begin, size_ - begin).addmm_(rows.narrow(1, begin, width), column.t());
    begin += width;
  }
  return result;
}

at::Tensor CholeskyFactor::MultiplyTransposed(const at::Tensor& rows) const {
  const at::NoGradGuard no_grad;
  at::Tensor result = at::empty(rows.sizes(), rows.options());
  int64_t begin = 0;
  for (const at::Tensor& column : columns_) {
    result.narrow(1, begin, column.size(1))
        .copy_(at::matmul(rows.narrow(1, begin, size_ - begin), column));
    begin += column.size(1);
  }
  return result;
}

}  // namespace amend
