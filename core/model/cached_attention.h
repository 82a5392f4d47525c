#ifndef AMEND_CORE_MODEL_CACHED_ATTENTION_H_
#define AMEND_CORE_MODEL_CACHED_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/model/attention.h"
#include "core/model/block_attention.h"
#include "core/model/kv_cache.h"

namespace amend {

// Rows that go on after what their caches hold. Writes the new keys and values into the caches; the
// caller advances them after the last layer. For inference only. Letters as in attention.h.
//
// On the CPU a row of a few new tokens reads its blocks where they lie. Longer rows, and all rows
// on other devices, run on LibTorch's attention over a copy of them.
class CachedAttention : public AttentionContext {
 public:
  struct Row {
    KvCache* cache = nullptr;
    int64_t new_tokens = 0;
  };
  CachedAttention(const std::vector<Row>& rows, at::Device device);
  at::Tensor Attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                    const at::Tensor& value) override;

 private:
  at::Tensor AttendCopy(const BlockRow& row, size_t number, LayerIndex layer,
                        const at::Tensor& query, const at::Tensor& key,
                        const at::Tensor& value) const;

  std::vector<BlockRow> rows_;
  // Those of rows_ that are read where they lie.
  std::vector<BlockRow> short_rows_;
  std::vector<at::Tensor> masks_;  // per row; undefined where none is needed
};

}  // namespace amend

#endif  // AMEND_CORE_MODEL_CACHED_ATTENTION_H_
