#include "core/editing/merged_rows.h"

#include <ATen/TensorOperators.h>

#include <algorithm>

namespace amend {
namespace {

// Edits that are added at once: what is converted to float64 stays small.
constexpr int64_t kEditsAtOnce = 256;

}  // namespace

at::Tensor MergeRows(const at::Tensor& block, int64_t first_row, ProjectionLayout layout,
                     const StackedFactors& factors) {
  if (factors.empty()) return block;
  const bool in_out = layout == ProjectionLayout::kInOut;
  const at::Tensor& of_rows = in_out ? factors.v : factors.u;     // [r, rows of the matrix]
  const at::Tensor& of_columns = in_out ? factors.u : factors.v;  // [r, columns]
  at::Tensor sum = block.to(at::kDouble, /*non_blocking=*/false, /*copy=*/true);
  const int64_t edits = of_rows.size(0);
  for (int64_t begin = 0; begin < edits; begin += kEditsAtOnce) {
    const int64_t count = std::min(kEditsAtOnce, edits - begin);
    const at::Tensor left = of_rows.narrow(0, begin, count).narrow(1, first_row, block.size(0));
    const at::Tensor right = of_columns.narrow(0, begin, count);
    sum.addmm_(left.to(at::kCPU, at::kDouble).t(), right.to(at::kCPU, at::kDouble));
  }
  return sum.to(block.scalar_type());
}

}  // namespace amend
