#include "core/model/cached_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

namespace amend {
namespace {

// [new_tokens, past + new_tokens], added to the scores.
at::Tensor CausalMask(int64_t past, int64_t new_tokens, const at::TensorOptions& options) {
  const auto places = at::TensorOptions().dtype(at::kLong).device(options.device());
  const at::Tensor query = at::arange(past, past + new_tokens, places).unsqueeze(1);
  const at::Tensor key = at::arange(past + new_tokens, places).unsqueeze(0);
  return at::zeros({new_tokens, past + new_tokens}, options)
      .masked_fill(key > query, -std::numeric_limits<double>::infinity());
}

void CopyIntoBlocks(const BlockRow& row, LayerIndex layer, const at::Tensor& key,
                    const at::Tensor& value) {
  for (int64_t i = 0; i < row.new_tokens;) {
    const int64_t position = row.cache->length() + i;
    const int64_t place = position % kKvBlockTokens;
    const int64_t count = std::min(kKvBlockTokens - place, row.new_tokens - i);
    // [2, g, B, e]
    const at::Tensor block =
        row.cache->blocks()[position / kKvBlockTokens]->memory.select(0, row.cache->PlaceOf(layer));
    block[0].narrow(1, place, count).copy_(key.narrow(0, row.start + i, count).transpose(0, 1));
    block[1].narrow(1, place, count).copy_(value.narrow(0, row.start + i, count).transpose(0, 1));
    i += count;
  }
}

// The keys (side 0) or values (side 1) of a row, [g, length + new_tokens, e].
at::Tensor Gather(const BlockRow& row, LayerIndex layer, int64_t side) {
  const int64_t width = row.cache->length() + row.new_tokens;
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < width; begin += kKvBlockTokens) {
    const KvBlock& block = *row.cache->blocks()[begin / kKvBlockTokens];
    parts.push_back(block.memory.select(0, row.cache->PlaceOf(layer))
                        .select(0, side)
                        .narrow(1, 0, std::min(kKvBlockTokens, width - begin)));
  }
  return at::cat(parts, 1);
}

}  // namespace

CachedAttention::CachedAttention(const std::vector<Row>& rows, at::Device device) {
  int64_t start = 0;
  for (const Row& row : rows) {
    row.cache->Reserve(row.new_tokens);
    rows_.push_back({row.cache, start, row.new_tokens});
    start += row.new_tokens;
    if (device.is_cpu()) continue;
    // A mask is needed only where several new tokens follow a filled cache; SDPA's own causal mask
    // covers the empty cache.
    masks_.push_back(row.cache->length() > 0 && row.new_tokens > 1
                         ? CausalMask(row.cache->length(), row.new_tokens,
                                      at::TensorOptions().dtype(at::kFloat).device(device))
                         : at::Tensor());
  }
}

at::Tensor CachedAttention::AttendCopy(const BlockRow& row, size_t number, LayerIndex layer,
                                       const at::Tensor& query, const at::Tensor& key,
                                       const at::Tensor& value) const {
  const auto fresh = [&row](const at::Tensor& tensor) {
    return tensor.narrow(0, row.start, row.new_tokens).transpose(0, 1);
  };
  const bool is_first = row.cache->length() == 0;
  const at::Tensor k = is_first ? fresh(key) : Gather(row, layer, 0);
  const at::Tensor v = is_first ? fresh(value) : Gather(row, layer, 1);
  at::Tensor mask = masks_[number];
  if (mask.defined()) mask = mask.to(query.scalar_type());
  const bool causal = !mask.defined() && row.new_tokens > 1;
  return DotProductAttention(fresh(query).unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), mask,
                             causal)
      .squeeze(0)
      .transpose(0, 1)
      .reshape({row.new_tokens, -1});
}

at::Tensor CachedAttention::Attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                                   const at::Tensor& value) {
  const at::Tensor output =
      at::empty({query.size(0), query.size(1) * query.size(2)}, query.options());
  if (query.is_cpu()) {
    WriteBlocks(rows_, layer, key, value);
    AttendBlocks(rows_, layer, query, output);
    return output;
  }
  for (size_t i = 0; i < rows_.size(); ++i) {
    const BlockRow& row = rows_[i];
    CopyIntoBlocks(row, layer, key, value);
    output.narrow(0, row.start, row.new_tokens).copy_(AttendCopy(row, i, layer, query, key, value));
  }
  return output;
}

}  // namespace amend
