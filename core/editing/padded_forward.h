#ifndef AMEND_CORE_EDITING_PADDED_FORWARD_H_
#define AMEND_CORE_EDITING_PADDED_FORWARD_H_

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/model/causal_lm.h"
#include "core/model/packed_forward.h"

namespace amend {

// A hook that sees whole rows: tokens of several rows, one behind the other. Letters: T tokens, the
// sum of `row_lengths`. input [T, d_in], output [T, d_out] = W0 x + bias. Returns what the block
// goes on with; changes neither argument.
using RowHook =
    std::function<at::Tensor(LayerIndex layer, const at::Tensor& input, const at::Tensor& output,
                             absl::Span<const int64_t> row_lengths)>;

using TokenRows = std::vector<std::vector<TokenId>>;

// A walk through the blocks with rows padded at their right, as the published code of the method
// (arXiv 2403.05330) runs them. Pads have token 0 and the positions behind the row; no token
// attends to them, but hooks see them like tokens of the row. Only this class knows of pads: what
// it returns holds the rows' own tokens alone.
//
// Thread-compatible. Copies walk on by themselves. The model must outlive it.
class PaddedForward {
 public:
  // Rows of one group are padded to the longest of them. No row is empty.
  PaddedForward(const CausalLm& model, absl::Span<const TokenRows> groups);

  // Runs blocks up to `layer`, which is not below where the walk stands. `hook` may be null.
  void AdvanceTo(int layer, const RowHook& hook);

  // The input of the block that comes next: [T, d], T tokens of all rows of all groups.
  at::Tensor Hidden() const;
  // What the down-projection of the block that comes next reads: [T, d_in]. The walk stays.
  at::Tensor NextProjectionInput() const;

 private:
  at::Tensor Run(int begin, int end, const RowHook& hook) const;

  const CausalLm* model_;
  PackedTokens padded_;
  std::vector<int64_t> real_lengths_;
  at::Tensor real_tokens_;  // [T]: places of the rows' own tokens among the padded ones
  at::Tensor hidden_;       // [padded T, d]: input of block `layer_`
  int layer_ = 0;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_PADDED_FORWARD_H_
