#include "core/model/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

namespace amend {
namespace {

constexpr double kMasked = -std::numeric_limits<float>::infinity();
// Up to here rows are faster one by one than padded.
constexpr int64_t kShortRow = 32;

at::TensorOptions Int64On(at::Device device) {
  return at::TensorOptions().dtype(at::kLong).device(device);
}

at::Tensor Indices(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(values, at::TensorOptions().dtype(at::kLong)).to(device);
}

}  // namespace

at::Tensor DotProductAttention(const at::Tensor& query, const at::Tensor& key,
                               const at::Tensor& value, const at::Tensor& mask, bool causal) {
  std::optional<at::Tensor> added;
  if (mask.defined()) added = mask;
  return at::scaled_dot_product_attention(query, key, value, added, /*dropout_p=*/0.0, causal,
                                          /*scale=*/std::nullopt,
                                          /*enable_gqa=*/key.size(1) != query.size(1));
}

RowPacking::RowPacking(std::vector<int64_t> lengths, at::Device device)
    : lengths_(std::move(lengths)) {
  for (const int64_t length : lengths_) {
    starts_.push_back(total_);
    total_ += length;
    max_length_ = std::max(max_length_, length);
  }
  uniform_ =
      std::all_of(lengths_.begin(), lengths_.end(), [&](int64_t n) { return n == max_length_; });
  if (uniform_) return;
  std::vector<int64_t> pad;
  std::vector<int64_t> unpad;
  pad.reserve(rows() * max_length_);
  unpad.reserve(total_);
  for (int64_t row = 0; row < rows(); ++row) {
    for (int64_t i = 0; i < max_length_; ++i) {
      // Padding repeats some token of the batch: finite values that nothing reads.
      pad.push_back(i < lengths_[row] ? starts_[row] + i : 0);
      if (i < lengths_[row]) unpad.push_back(row * max_length_ + i);
    }
  }
  pad_index_ = Indices(pad, device);
  unpad_index_ = Indices(unpad, device);
}

at::Tensor RowPacking::Pad(const at::Tensor& packed) const {
  const at::Tensor rows_first = uniform_ ? packed : packed.index_select(0, pad_index_);
  return rows_first.view({rows(), max_length_, packed.size(1), packed.size(2)}).transpose(1, 2);
}

at::Tensor RowPacking::Unpad(const at::Tensor& padded) const {
  const at::Tensor flat =
      padded.transpose(1, 2).reshape({rows() * max_length_, padded.size(1) * padded.size(3)});
  return uniform_ ? flat : flat.index_select(0, unpad_index_);
}

RecordedPrefix RecordedPrefix::Select(absl::Span<const int64_t> rows) const {
  RecordedPrefix result;
  result.first_layer = first_layer;
  std::vector<int64_t> starts;
  int64_t start = 0;
  for (const int64_t length : lengths) {
    starts.push_back(start);
    start += length;
  }
  std::vector<int64_t> places;
  for (const int64_t row : rows) {
    result.lengths.push_back(lengths[row]);
    for (int64_t i = 0; i < lengths[row]; ++i) places.push_back(starts[row] + i);
  }
  if (keys.empty()) return result;
  const at::Tensor index = Indices(places, keys[0].device());
  for (size_t i = 0; i < keys.size(); ++i) {
    result.keys.push_back(keys[i].index_select(0, index));
    result.values.push_back(values[i].index_select(0, index));
  }
  return result;
}

PackedAttention::PackedAttention(std::vector<int64_t> lengths, at::Device device)
    : packing_(std::move(lengths), device) {
  if (!device.is_cpu() || packing_.max_length() > kShortRow) return;
  const std::vector<int64_t>& all = packing_.lengths();
  short_rows_ = c10::make_intrusive<RaggedLayout>(std::vector<int64_t>(all.size(), 0), all, all);
}

at::Tensor PackedAttention::Attend(LayerIndex, const at::Tensor& query, const at::Tensor& key,
                                   const at::Tensor& value) {
  if (short_rows_ != nullptr && query.scalar_type() == at::kFloat) {
    return AttendRagged(short_rows_, query, key, value, key.narrow(0, 0, 0), value.narrow(0, 0, 0));
  }
  // Padding stands behind every real token, so the causal mask alone keeps it out.
  return packing_.Unpad(DotProductAttention(packing_.Pad(query), packing_.Pad(key),
                                            packing_.Pad(value), /*mask=*/{}, /*causal=*/true));
}

PrefixedAttention::PrefixedAttention(const RecordedPrefix* prefix, std::vector<int64_t> new_lengths,
                                     at::Device device, at::ScalarType dtype)
    : PrefixedAttention(prefix, new_lengths, new_lengths, device, dtype) {}

PrefixedAttention::PrefixedAttention(const RecordedPrefix* prefix, std::vector<int64_t> new_lengths,
                                     std::vector<int64_t> query_lengths, at::Device device,
                                     at::ScalarType dtype)
    : prefix_(prefix),
      layout_(c10::make_intrusive<RaggedLayout>(prefix->lengths, new_lengths, query_lengths)),
      past_(prefix->lengths, device),
      queries_(std::move(query_lengths), device),
      keys_(std::move(new_lengths), device) {
  if (device.is_cpu()) return;
  const int64_t p_max = past_.max_length();
  const int64_t n_max = keys_.max_length();
  const int64_t q_max = queries_.max_length();
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  const auto column = [&](const std::vector<int64_t>& values) {
    return Indices(values, device).view({-1, 1, 1, 1});
  };
  const at::Tensor behind =
      at::arange(p_max, Int64On(device)).view({1, 1, 1, p_max}) >= column(prefix->lengths);
  const at::Tensor past =
      at::zeros({keys_.rows(), 1, 1, p_max}, options).masked_fill(behind, kMasked);
  // Query j of row i is new token n_i - q_i + j and sees the new tokens up to itself.
  const at::Tensor query = at::arange(q_max, Int64On(device)).view({1, 1, q_max, 1}) +
                           column(keys_.lengths()) - column(queries_.lengths());
  const at::Tensor key = at::arange(n_max, Int64On(device)).view({1, 1, 1, n_max});
  const at::Tensor fresh =
      at::zeros({keys_.rows(), 1, q_max, n_max}, options).masked_fill(key > query, kMasked);
  mask_ = at::cat({past.expand({-1, -1, q_max, -1}), fresh}, 3);
}

at::Tensor PrefixedAttention::Attend(LayerIndex layer, const at::Tensor& query,
                                     const at::Tensor& key, const at::Tensor& value) {
  at::Tensor prefix_key = key.narrow(0, 0, 0);
  at::Tensor prefix_value = value.narrow(0, 0, 0);
  if (!prefix_->keys.empty()) {
    const size_t i = layer.value() - prefix_->first_layer.value();
    prefix_key = prefix_->keys[i];
    prefix_value = prefix_->values[i];
  }
  if (!query.device().is_cpu()) return AttendPadded(query, key, value, prefix_key, prefix_value);
  return AttendRagged(layout_, query.to(at::kFloat), key.to(at::kFloat), value.to(at::kFloat),
                      prefix_key.to(at::kFloat), prefix_value.to(at::kFloat))
      .to(query.scalar_type());
}

at::Tensor PrefixedAttention::AttendPadded(const at::Tensor& query, const at::Tensor& key,
                                           const at::Tensor& value, const at::Tensor& prefix_key,
                                           const at::Tensor& prefix_value) {
  at::Tensor k = keys_.Pad(key);
  at::Tensor v = keys_.Pad(value);
  if (past_.max_length() > 0) {
    k = at::cat({past_.Pad(prefix_key), k}, 2);
    v = at::cat({past_.Pad(prefix_value), v}, 2);
  }
  return queries_.Unpad(DotProductAttention(queries_.Pad(query), k, v, mask_, /*causal=*/false));
}

}  // namespace amend
