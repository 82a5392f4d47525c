#ifndef AMEND_CORE_EDITING_MERGED_ROWS_H_
#define AMEND_CORE_EDITING_MERGED_ROWS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/editing/stacked_factors.h"
#include "core/model/stored_projection.h"

namespace amend {

// Rows [first_row, first_row + n) of W0 + sum over all edits b of u_b v_b', the weight with every
// edit always on. `block` [n, columns] are these rows of W0 as the checkpoint has them: [d_in,
// d_out] for kInOut, [d_out, d_in] for kOutIn, in any floating type, on the CPU. The sum is formed
// in float64 and rounded to that type. Memory beside the result: 8 bytes for each of the block's
// entries and a bounded slice of the factors.
at::Tensor MergeRows(const at::Tensor& block, int64_t first_row, ProjectionLayout layout,
                     const StackedFactors& factors);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_MERGED_ROWS_H_
