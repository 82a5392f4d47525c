#ifndef AMEND_CORE_MODEL_ATTENTION_H_
#define AMEND_CORE_MODEL_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/model/ragged_attention.h"

// Causal self-attention over ragged rows, packed without padding. Letters: N rows of n_i new
// tokens, T = sum of n_i, h heads of e dimensions, g heads of keys and values (each serves h / g
// neighbouring heads of queries), p_i earlier tokens of row i.

namespace amend {

// What a block's attention reads of its tokens.
struct AttentionInput {
  at::Tensor query;  // [T, h, e]
  at::Tensor key;    // [T, g, e]
  at::Tensor value;  // [T, g, e]
};

// What a block calls with the queries, keys and values of its new tokens. Not thread-safe; lives
// for one forward.
class AttentionContext {
 public:
  virtual ~AttentionContext() = default;
  // query [T, h, e]; key, value [T, g, e]. Returns [T, h * e]. Each layer is called once per
  // forward.
  virtual at::Tensor Attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                            const at::Tensor& value) = 0;
};

// LibTorch's attention of every head. query [N, h, q, e]; key, value [N, g, n, e]; `mask`, added to
// the scores, may be undefined; `causal` needs that. Returns [N, h, q, e]. Differentiable.
at::Tensor DotProductAttention(const at::Tensor& query, const at::Tensor& key,
                               const at::Tensor& value, const at::Tensor& mask, bool causal);

// Moves between packed [T, ...] and right-padded [N, max n_i, ...] layout. A row may have no token.
// Thread-compatible.
class RowPacking {
 public:
  RowPacking(std::vector<int64_t> lengths, at::Device device);

  int64_t rows() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t max_length() const { return max_length_; }
  int64_t total() const { return total_; }
  const std::vector<int64_t>& lengths() const { return lengths_; }
  // Packed position of each row's first token.
  const std::vector<int64_t>& starts() const { return starts_; }

  // [T, h, e] -> [N, h, max n_i, e]; what stands in padding is unspecified but finite.
  at::Tensor Pad(const at::Tensor& packed) const;
  // [N, h, max n_i, e] -> [T, h * e].
  at::Tensor Unpad(const at::Tensor& padded) const;

 private:
  std::vector<int64_t> lengths_;
  std::vector<int64_t> starts_;
  int64_t max_length_ = 0;
  int64_t total_ = 0;
  bool uniform_ = true;
  at::Tensor pad_index_;    // [N * max n_i]
  at::Tensor unpad_index_;  // [T]
};

// Keys and values of every layer of some rows: what PrefixedAttention continues from. P = sum of
// p_i.
struct RecordedPrefix {
  std::vector<int64_t> lengths;    // p_i
  std::vector<at::Tensor> keys;    // per layer from `first_layer` on: [P, g, e]
  std::vector<at::Tensor> values;  // the same
  LayerIndex first_layer;

  // Only the given rows, in the given order.
  RecordedPrefix Select(absl::Span<const int64_t> rows) const;
};

// Whole rows that begin at position 0. Differentiable.
class PackedAttention : public AttentionContext {
 public:
  PackedAttention(std::vector<int64_t> lengths, at::Device device);

  at::Tensor Attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                    const at::Tensor& value) override;

 private:
  RowPacking packing_;
  // Where all rows are short, on the CPU; else null.
  c10::intrusive_ptr<RaggedLayout> short_rows_;
};

// Rows that go on after a recorded prefix. Differentiable in the new tokens. `prefix` must outlive
// this.
class PrefixedAttention : public AttentionContext {
 public:
  PrefixedAttention(const RecordedPrefix* prefix, std::vector<int64_t> new_lengths,
                    at::Device device, at::ScalarType dtype);
  // Queries come from the last q_i <= n_i new tokens of each row alone; keys and values from all.
  PrefixedAttention(const RecordedPrefix* prefix, std::vector<int64_t> new_lengths,
                    std::vector<int64_t> query_lengths, at::Device device, at::ScalarType dtype);
  at::Tensor Attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                    const at::Tensor& value) override;

 private:
  at::Tensor AttendPadded(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                          const at::Tensor& prefix_key, const at::Tensor& prefix_value);

  const RecordedPrefix* prefix_;
  const c10::intrusive_ptr<RaggedLayout> layout_;
  // For other devices than the CPU.
  RowPacking past_;
  RowPacking queries_;
  RowPacking keys_;
  at::Tensor mask_;  // [N, 1, max q_i, max p_i + max n_i], added to the scores
};

}  // namespace amend

#endif  // AMEND_CORE_MODEL_ATTENTION_H_
