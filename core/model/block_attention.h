#ifndef AMEND_CORE_MODEL_BLOCK_ATTENTION_H_
#define AMEND_CORE_MODEL_BLOCK_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/types/span.h"
#include "core/model/kv_cache.h"

// Causal attention of new tokens over keys and values where they lie, in the blocks of their rows'
// caches. float32 or bfloat16 (sums and softmax in float32), on the CPU. What a token gets depends
// on its row's tokens up to itself alone, bit for bit: not on how many are new. Letters: T packed
// tokens, h heads of e dimensions, g heads of keys and values (each serves h / g neighbouring heads
// of queries).

namespace amend {

struct BlockRow {
  const KvCache* cache = nullptr;
  // Packed place of the first of its new tokens, whose keys and values are written behind the
  // cache's end.
  int64_t start = 0;
  int64_t new_tokens = 0;
};

// Writes key, value [T, g, e] of the rows' new tokens into their blocks, which are reserved.
void WriteBlocks(absl::Span<const BlockRow> rows, LayerIndex layer, const at::Tensor& key,
                 const at::Tensor& value);

// Fills the rows' part of `output` [T, h * e], contiguous, from query [T, h, e]; both of the
// blocks' dtype.
void AttendBlocks(absl::Span<const BlockRow> rows, LayerIndex layer, const at::Tensor& query,
                  const at::Tensor& output);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_BLOCK_ATTENTION_H_
