#ifndef AMEND_CORE_EDITING_SYMMETRIC_SUM_H_
#define AMEND_CORE_EDITING_SYMMETRIC_SUM_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace amend {

// The sum of k k' over vectors k. Only the upper triangle is computed and kept, in panels of whole
// rows: about half the arithmetic and memory of the square. The products of one Add are float32,
// the sum over calls float64. Not thread-safe. Letters: n the size of a vector.
class SymmetricSum {
 public:
  SymmetricSum(int64_t size, at::Device device);

  int64_t size() const { return size_; }
  // Adds the outer products of the rows of `rows` [T, n], of any floating dtype.
  void Add(const at::Tensor& rows);
  // [n, n], float64, exactly symmetric, in memory of its own.
  at::Tensor Dense() const;

  // Panel i holds rows [i * w, (i + 1) * w) from column i * w on: [<= w, n - i * w], float64.
  const std::vector<at::Tensor>& panels() const { return panels_; }
  // Takes over panels as `panels()` gave them. INVALID_ARGUMENT when they are not of this size.
  absl::Status Restore(const std::vector<at::Tensor>& panels);

 private:
  const int64_t size_;
  const int64_t width_;
  std::vector<at::Tensor> panels_;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_SYMMETRIC_SUM_H_
