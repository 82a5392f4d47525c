#ifndef AMEND_CORE_MODEL_PACKED_FORWARD_H_
#define AMEND_CORE_MODEL_PACKED_FORWARD_H_

#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/model/attention.h"
#include "core/model/causal_lm.h"
#include "core/model/hook_point.h"

namespace amend {

// Tokens of several rows, one behind the other. T tokens in all.
struct PackedTokens {
  at::Tensor ids;        // [T], int64
  at::Tensor positions;  // [T], int64: place of the token in its row
  std::vector<int64_t> lengths;
};

// Rows begin at position 0, or at `first_positions[i]` where given (one per row).
PackedTokens PackTokens(absl::Span<const absl::Span<const TokenId>> rows,
                        absl::Span<const int64_t> first_positions, at::Device device);

// [values.size()], int64.
at::Tensor IndexTensor(absl::Span<const int64_t> values, at::Device device);

// Blocks [begin, end) over packed hidden states [T, d]. `hook` may be null.
at::Tensor RunBlocks(const CausalLm& model, int begin, int end, at::Tensor hidden,
                     const at::Tensor& positions, AttentionContext& attention,
                     const DownProjectionHook* hook);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_PACKED_FORWARD_H_
