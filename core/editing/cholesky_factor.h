#ifndef AMEND_CORE_EDITING_CHOLESKY_FACTOR_H_
#define AMEND_CORE_EDITING_CHOLESKY_FACTOR_H_

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"

namespace amend {

// The lower Cholesky factor L of a symmetric positive definite matrix [d, d], float64. Immutable
// and thread-safe.
//
// Kept as block columns of the lower triangle: about 4 d^2 bytes, half a square matrix (GPT2-XL,
// d = 6,400: 0.18 GB a layer; GPT-J, d = 16,384: 1.1 GB). The matrix itself is not kept: it is L
// L'. Neither making nor extending a factor holds a [d, d] float64 matrix. LibTorch exceptions pass
// through.
class CholeskyFactor : public std::enable_shared_from_this<CholeskyFactor> {
 public:
  // Width of a block column but the last.
  static constexpr int64_t kBlock = 512;

  // Of scale * matrix. `matrix` [d, d], float32 or float64; its lower triangle is read.
  // FAILED_PRECONDITION, naming the first leading minor that is not positive definite.
  static absl::StatusOr<std::shared_ptr<const CholeskyFactor>> Of(const at::Tensor& matrix,
                                                                  double scale = 1);
  // From block columns that block_columns() gave. INVALID_ARGUMENT when their shapes are others.
  static absl::StatusOr<std::shared_ptr<const CholeskyFactor>> FromBlockColumns(
      std::vector<at::Tensor> columns);

  // The factor of L L' + K'K. `keys` K [n, d], float64. Costs 2/3 d^3 + n d^2.
  absl::StatusOr<std::shared_ptr<const CholeskyFactor>> WithKeys(const at::Tensor& keys) const;

  // The same on `device`; itself where it is there.
  std::shared_ptr<const CholeskyFactor> To(at::Device device) const;

  int64_t size() const { return size_; }
  int64_t bytes() const;
  // Block column j holds L's rows from j * kBlock on: [d - j * kBlock, at most kBlock], float64.
  const std::vector<at::Tensor>& block_columns() const { return columns_; }

  // Each of these maps every row x of `rows` [n, d], float64, to a row [n, d].
  at::Tensor Whiten(const at::Tensor& rows) const;              // L^-1 x
  at::Tensor Unwhiten(const at::Tensor& rows) const;            // L^-T x
  at::Tensor Multiply(const at::Tensor& rows) const;            // L x
  at::Tensor MultiplyTransposed(const at::Tensor& rows) const;  // L' x

 private:
  // Rows [begin, d) of columns [begin, begin + width) of the matrix to factor, float64, in memory
  // of its own.
  using MatrixColumns = std::function<at::Tensor(int64_t begin, int64_t width)>;

  CholeskyFactor(int64_t size, std::vector<at::Tensor> columns)
      : size_(size), columns_(std::move(columns)) {}
  static absl::StatusOr<std::shared_ptr<const CholeskyFactor>> Factor(int64_t size,
                                                                      const MatrixColumns& matrix);

  const int64_t size_;
  const std::vector<at::Tensor> columns_;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_CHOLESKY_FACTOR_H_
