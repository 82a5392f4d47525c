#include "core/model/packed_forward.h"

#include <ATen/ops/tensor.h>

#include <utility>

namespace amend {

at::Tensor IndexTensor(absl::Span<const int64_t> values, at::Device device) {
  return at::tensor(at::ArrayRef<int64_t>(values.data(), values.size()),
                    at::TensorOptions().dtype(at::kLong))
      .to(device);
}

PackedTokens PackTokens(absl::Span<const absl::Span<const TokenId>> rows,
                        absl::Span<const int64_t> first_positions, at::Device device) {
  PackedTokens packed;
  std::vector<int64_t> ids;
  std::vector<int64_t> positions;
  for (size_t row = 0; row < rows.size(); ++row) {
    const int64_t first = first_positions.empty() ? 0 : first_positions[row];
    for (size_t i = 0; i < rows[row].size(); ++i) {
      ids.push_back(rows[row][i]);
      positions.push_back(first + static_cast<int64_t>(i));
    }
    packed.lengths.push_back(static_cast<int64_t>(rows[row].size()));
  }
  packed.ids = IndexTensor(ids, device);
  packed.positions = IndexTensor(positions, device);
  return packed;
}

at::Tensor RunBlocks(const CausalLm& model, int begin, int end, at::Tensor hidden,
                     const at::Tensor& positions, AttentionContext& attention,
                     const DownProjectionHook* hook) {
  for (int layer = begin; layer < end; ++layer) {
    hidden = model.Block(LayerIndex(layer), hidden, positions, attention, hook);
  }
  return hidden;
}

}  // namespace amend
