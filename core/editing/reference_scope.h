#ifndef AMEND_CORE_EDITING_REFERENCE_SCOPE_H_
#define AMEND_CORE_EDITING_REFERENCE_SCOPE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>

#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/model/hook_point.h"

// EditScope::kReference: the hook layers of arXiv 2403.05330, section 3.3. Letters: T tokens of N
// rows, one behind the other; the rows' lengths sum to T.

namespace amend {

// One edited layer of a line of edits. Plain data.
struct ReferenceLayer {
  at::Tensor update;  // [d_out, d_in], float32: the sum over all batches
  double alpha = 0;
};

// How far the update moves each token, input [T, d_in], as a z score among all tokens of its row:
// (|update x| - mean) / deviation, with n - 1 in the deviation. [T], float32. Not a number in a row
// of one token and where all tokens move alike.
at::Tensor RowScores(const at::Tensor& update, const at::Tensor& input,
                     absl::Span<const int64_t> row_lengths);

// output [T, d_out] + update x at every token (the paper's temporary hook).
at::Tensor ApplyEverywhere(const at::Tensor& update, const at::Tensor& input,
                           const at::Tensor& output);

// output + update x at tokens whose score reaches alpha, else output (the validated hook).
at::Tensor ApplyWhereValidated(const ReferenceLayer& layer, const at::Tensor& input,
                               const at::Tensor& output, absl::Span<const int64_t> row_lengths);

// The validated hooks of a line. The input of one forward is taken for one row: its tokens, all of
// them, make the mean and the deviation. So forwards of several rows, in chunks or after a cache
// give other results: for evaluation of single rows. Immutable and thread-safe.
class ReferenceHooks : public DownProjectionHook {
 public:
  explicit ReferenceHooks(std::map<LayerIndex, ReferenceLayer> layers);

  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override;
  // The same for several rows.
  at::Tensor ApplyToRows(LayerIndex layer, const at::Tensor& input, const at::Tensor& output,
                         absl::Span<const int64_t> row_lengths) const;

 private:
  const std::map<LayerIndex, ReferenceLayer> layers_;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_REFERENCE_SCOPE_H_
