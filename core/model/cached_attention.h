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
// On the CPU they read their blocks where they lie, on other devices LibTorch's attention reads a
// copy.
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
  std::vector<at::Tensor> masks_;  // per row; undefined where none is needed, and on the CPU
};

}  // namespace amend

#endif  // AMEND_CORE_MODEL_CACHED_ATTENTION_H_
