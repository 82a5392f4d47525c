#include "core/editing/padded_forward.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "core/model/attention.h"
#include "core/model/hook_point.h"
#include "core/model/torch_device.h"

namespace amend {
namespace {

constexpr TokenId kPadToken = 0;

// Causal attention over whole rows in which no query sees a pad.
class PaddedAttention : public AttentionContext {
 public:
  PaddedAttention(const std::vector<int64_t>& padded_lengths,
                  const std::vector<int64_t>& real_lengths, at::Device device, at::ScalarType dtype)
      : packing_(padded_lengths, device) {
    const at::Tensor place =
        at::arange(packing_.max_length(), at::TensorOptions().dtype(at::kLong).device(device));
    const at::Tensor later = place.unsqueeze(0) > place.unsqueeze(1);  // [query, key]
    const at::Tensor pad = place >= IndexTensor(real_lengths, device).view({-1, 1, 1, 1});
    const at::Tensor hidden = later.logical_or(pad);  // [N, 1, n, n]
    mask_ = at::zeros(hidden.sizes(), at::TensorOptions().dtype(dtype).device(device))
                .masked_fill(hidden, -std::numeric_limits<float>::infinity());
  }

  at::Tensor Attend(LayerIndex, const at::Tensor& query, const at::Tensor& key,
                    const at::Tensor& value) override {
    return packing_.Unpad(DotProductAttention(packing_.Pad(query), packing_.Pad(key),
                                              packing_.Pad(value), mask_, /*causal=*/false));
  }

 private:
  const RowPacking packing_;
  at::Tensor mask_;
};

// Tells a row hook where the padded rows begin.
class PaddedRowsHook : public DownProjectionHook {
 public:
  PaddedRowsHook(const RowHook& hook, const std::vector<int64_t>& lengths)
      : hook_(hook), lengths_(lengths) {}

  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    return hook_ ? hook_(layer, input, output, lengths_) : output;
  }

 private:
  const RowHook& hook_;
  const std::vector<int64_t>& lengths_;
};

}  // namespace

PaddedForward::PaddedForward(const CausalLm& model, absl::Span<const TokenRows> groups)
    : model_(&model) {
  TokenRows rows;
  std::vector<int64_t> real;
  int64_t start = 0;
  for (const TokenRows& group : groups) {
    size_t longest = 0;
    for (const std::vector<TokenId>& row : group) longest = std::max(longest, row.size());
    for (const std::vector<TokenId>& row : group) {
      real_lengths_.push_back(static_cast<int64_t>(row.size()));
      for (int64_t i = 0; i < real_lengths_.back(); ++i) real.push_back(start + i);
      start += static_cast<int64_t>(longest);
      rows.push_back(row);
      rows.back().resize(longest, kPadToken);
    }
  }
  const std::vector<absl::Span<const TokenId>> spans(rows.begin(), rows.end());
  padded_ = PackTokens(spans, {}, TorchDevice(model));
  real_tokens_ = IndexTensor(real, TorchDevice(model));
  hidden_ = model.Embed(padded_.ids, padded_.positions);
}

void PaddedForward::AdvanceTo(int layer, const RowHook& hook) {
  hidden_ = Run(layer_, layer, hook);
  layer_ = layer;
}

at::Tensor PaddedForward::Hidden() const { return hidden_.index_select(0, real_tokens_); }

at::Tensor PaddedForward::NextProjectionInput() const {
  at::Tensor read;
  Run(layer_, layer_ + 1,
      [&read](LayerIndex, const at::Tensor& input, const at::Tensor& output,
              absl::Span<const int64_t>) {
        read = input;
        return output;
      });
  return read.index_select(0, real_tokens_);
}

at::Tensor PaddedForward::Run(int begin, int end, const RowHook& hook) const {
  if (begin == end) return hidden_;
  PaddedAttention attention(padded_.lengths, real_lengths_, TorchDevice(*model_),
                            TorchDtype(*model_));
  const PaddedRowsHook rows_hook(hook, padded_.lengths);
  return RunBlocks(*model_, begin, end, hidden_, padded_.positions, attention, &rows_hook);
}

}  // namespace amend
