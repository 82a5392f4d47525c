// Compiled once per instruction set; the one that the machine has is chosen at run time (Highway).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/model/block_attention.cc"
#include "core/model/block_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/base/parallel.h"

// In this order.
// clang-format off
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "hwy/contrib/math/math-inl.h"
#include "core/model/sum_lanes-inl.h"
// clang-format on

#ifndef AMEND_CORE_MODEL_BLOCK_ATTENTION_ONCE
#define AMEND_CORE_MODEL_BLOCK_ATTENTION_ONCE
namespace amend {

// One head of one row. T is float, or hwy::bfloat16_t.
template <typename T>
struct HeadView {
  // Of the head in each block: keys [B, e], then values.
  absl::Span<KvBlock* const> blocks;
  // Places of the head's keys and values in a block.
  int64_t key_offset = 0;
  int64_t value_offset = 0;
  int64_t e = 0;
  int64_t past = 0;
  int64_t new_tokens = 0;
  // Of the first new token; tokens are `query_stride` and `output_stride` apart.
  const T* query = nullptr;
  int64_t query_stride = 0;
  T* output = nullptr;
  int64_t output_stride = 0;

  const T* Key(int64_t block) const { return At(block, key_offset); }
  const T* Value(int64_t block) const { return At(block, value_offset); }
  const T* At(int64_t block, int64_t offset) const {
    return reinterpret_cast<const T*>(blocks[block]->bytes) + offset;
  }
};

// Kept from head to head.
struct AttentionScratch {
  std::vector<float> query;
  std::vector<float> weights;
  std::vector<float> output;
};

}  // namespace amend
#endif  // AMEND_CORE_MODEL_BLOCK_ATTENTION_ONCE

HWY_BEFORE_NAMESPACE();
namespace amend {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Lanes = hn::ScalableTag<float>;
using Numbers = hn::Vec<Lanes>;

Numbers LoadFloats(const float* from) { return hn::LoadU(Lanes(), from); }
Numbers LoadFloats(const hwy::bfloat16_t* from) {
  return hn::PromoteTo(Lanes(), hn::LoadU(hn::Rebind<hwy::bfloat16_t, Lanes>(), from));
}
float ToFloat(float x) { return x; }
float ToFloat(hwy::bfloat16_t x) { return hwy::F32FromBF16(x); }
void Store(float x, float* to) { *to = x; }
// Rounded to nearest, ties to even, as LibTorch does.
void Store(float x, hwy::bfloat16_t* to) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  to->bits =
      std::isnan(x) ? 0x7FC0 : static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// Loops over the arrays of vectors below: in registers only once they are unrolled.
#define AMEND_UNROLL _Pragma("GCC unroll 4")

// Queries that go over the keys and values together. What one of them gets does not depend on it.
constexpr int kQueries = 4;

float MulAdd(float a, float b, float c) {
  const Lanes d;
  return hn::GetLane(hn::MulAdd(hn::Set(d, a), hn::Set(d, b), hn::Set(d, c)));
}

// weights[q * stride + t] = query q . keys[t], each of e numbers, for the first `count` keys of a
// block, and for up to kSumsTogether - 1 behind them.
template <int kTimes, typename T>
void DotKeys(const float* query, const T* keys, int64_t count, int64_t e, float* weights,
             int64_t stride) {
  static_assert(kKvBlockTokens % kSumsTogether == 0);
  const Lanes d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t whole = e / lanes * lanes;
  HWY_ALIGN float sums[kSumsTogether * HWY_MAX_BYTES / sizeof(float)];
  for (int64_t t = 0; t < count; t += kSumsTogether) {
    const T* const key = keys + t * e;
    Numbers sum[kTimes][kSumsTogether];
    AMEND_UNROLL for (int q = 0; q < kTimes; ++q) {
      AMEND_UNROLL for (int k = 0; k < kSumsTogether; ++k) sum[q][k] = hn::Zero(d);
    }
    for (int64_t i = 0; i < whole; i += lanes) {
      Numbers numbers[kSumsTogether];
      AMEND_UNROLL for (int k = 0; k < kSumsTogether; ++k) {
        numbers[k] = LoadFloats(key + k * e + i);
      }
      AMEND_UNROLL for (int q = 0; q < kTimes; ++q) {
        const auto factor = hn::LoadU(d, query + q * e + i);
        AMEND_UNROLL for (int k = 0; k < kSumsTogether; ++k) {
          sum[q][k] = hn::MulAdd(factor, numbers[k], sum[q][k]);
        }
      }
    }
    AMEND_UNROLL for (int q = 0; q < kTimes; ++q) {
      AMEND_UNROLL for (int k = 0; k < kSumsTogether; ++k) {
        hn::Store(sum[q][k], d, sums + k * lanes);
      }
      float* const totals = weights + q * stride + t;
      SumLanes(sums, totals);
      for (int64_t i = whole; i < e; ++i) {
        for (int k = 0; k < kSumsTogether; ++k) {
          totals[k] = MulAdd(query[q * e + i], ToFloat(key[k * e + i]), totals[k]);
        }
      }
    }
  }
}

// `weights` has room for a vector more than `count`. Returns their sum, of exp(weight - largest).
float Exponentiate(float* weights, int64_t count) {
  const Lanes d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float largest = *std::max_element(weights, weights + count);
  // Far below what exp tells from 0.
  std::fill(weights + count, weights + (count + lanes - 1) / lanes * lanes, largest - 1000.0f);
  const auto top = hn::Set(d, largest);
  auto sum = hn::Zero(d);
  for (int64_t t = 0; t < count; t += lanes) {
    const auto power = hn::Exp(d, hn::Sub(hn::LoadU(d, weights + t), top));
    hn::StoreU(power, d, weights + t);
    sum = hn::Add(sum, power);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// output[q * e + i] += sum over t in [begin, end) of weights[q * stride + t] * number i of value t.
template <int kTimes, typename T>
void AddValues(const HeadView<T>& head, const float* weights, int64_t stride, int64_t begin,
               int64_t end, float* output) {
  constexpr int kVectors = 4;
  const Lanes d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t e = head.e;
  const auto value = [&head, e](int64_t t) {
    return head.Value(t / kKvBlockTokens) + t % kKvBlockTokens * e;
  };
  int64_t i = 0;
  for (; i + kVectors * lanes <= e; i += kVectors * lanes) {
    Numbers sum[kTimes][kVectors];
    AMEND_UNROLL for (int q = 0; q < kTimes; ++q) {
      AMEND_UNROLL for (int v = 0; v < kVectors; ++v) {
        sum[q][v] = hn::LoadU(d, output + q * e + i + v * lanes);
      }
    }
    for (int64_t t = begin; t < end; ++t) {
      const T* const from = value(t) + i;
      Numbers numbers[kVectors];
      AMEND_UNROLL for (int v = 0; v < kVectors; ++v) numbers[v] = LoadFloats(from + v * lanes);
      AMEND_UNROLL for (int q = 0; q < kTimes; ++q) {
        const auto weight = hn::Set(d, weights[q * stride + t]);
        AMEND_UNROLL for (int v = 0; v < kVectors; ++v) {
          sum[q][v] = hn::MulAdd(weight, numbers[v], sum[q][v]);
        }
      }
    }
    AMEND_UNROLL for (int q = 0; q < kTimes; ++q) {
      AMEND_UNROLL for (int v = 0; v < kVectors; ++v) {
        hn::StoreU(sum[q][v], d, output + q * e + i + v * lanes);
      }
    }
  }
  for (; i + lanes <= e; i += lanes) {
    for (int q = 0; q < kTimes; ++q) {
      auto sum = hn::LoadU(d, output + q * e + i);
      for (int64_t t = begin; t < end; ++t) {
        sum = hn::MulAdd(hn::Set(d, weights[q * stride + t]), LoadFloats(value(t) + i), sum);
      }
      hn::StoreU(sum, d, output + q * e + i);
    }
  }
  for (; i < e; ++i) {
    for (int q = 0; q < kTimes; ++q) {
      float* const sum = output + q * e + i;
      for (int64_t t = begin; t < end; ++t) {
        *sum = MulAdd(weights[q * stride + t], ToFloat(value(t)[i]), *sum);
      }
    }
  }
}

// kTimes new tokens from `first` on.
template <int kTimes, typename T>
void AttendQueries(const HeadView<T>& head, int64_t first, AttentionScratch& scratch) {
  const int64_t e = head.e;
  const float scale = 1.0f / std::sqrt(static_cast<float>(e));
  // Keys that the first query sees, and those that the last one does.
  const int64_t least = head.past + first + 1;
  const int64_t most = least + kTimes - 1;
  const int64_t stride = most + static_cast<int64_t>(hn::Lanes(Lanes())) + kSumsTogether;
  scratch.query.resize(kTimes * e);
  scratch.output.assign(kTimes * e, 0.0f);
  scratch.weights.resize(kTimes * stride);
  float* const weights = scratch.weights.data();
  float* const output = scratch.output.data();
  for (int q = 0; q < kTimes; ++q) {
    const T* const query = head.query + (first + q) * head.query_stride;
    for (int64_t i = 0; i < e; ++i) scratch.query[q * e + i] = scale * ToFloat(query[i]);
  }
  for (int64_t t = 0; t < most; t += kKvBlockTokens) {
    DotKeys<kTimes>(scratch.query.data(), head.Key(t / kKvBlockTokens),
                    std::min(kKvBlockTokens, most - t), e, weights + t, stride);
  }
  float sums[kTimes];
  for (int q = 0; q < kTimes; ++q) sums[q] = Exponentiate(weights + q * stride, least + q);
  AddValues<kTimes>(head, weights, stride, 0, least, output);
  for (int q = 0; q < kTimes; ++q) {
    if (q > 0) {
      AddValues<1>(head, weights + q * stride, stride, least, least + q, output + q * e);
    }
    T* const to = head.output + (first + q) * head.output_stride;
    const float factor = 1.0f / sums[q];
    for (int64_t i = 0; i < e; ++i) Store(output[q * e + i] * factor, to + i);
  }
}

template <typename T>
void AttendHead(const HeadView<T>& head, AttentionScratch& scratch) {
  int64_t j = 0;
  for (; j + kQueries <= head.new_tokens; j += kQueries) {
    AttendQueries<kQueries>(head, j, scratch);
  }
  for (; j < head.new_tokens; ++j) AttendQueries<1>(head, j, scratch);
}

void AttendFloat(const HeadView<float>& head, AttentionScratch& scratch) {
  AttendHead(head, scratch);
}
void AttendBFloat16(const HeadView<hwy::bfloat16_t>& head, AttentionScratch& scratch) {
  AttendHead(head, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace amend
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace amend {
namespace {

HWY_EXPORT(AttendFloat);
HWY_EXPORT(AttendBFloat16);

void Attend(const HeadView<float>& head, AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(AttendFloat)(head, scratch);
}
void Attend(const HeadView<hwy::bfloat16_t>& head, AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(AttendBFloat16)(head, scratch);
}

// Multiply-adds below which waking another thread costs more than it brings.
constexpr int64_t kWorkOfAThread = 1 << 17;
// Tokens written by one thread at least.
constexpr int64_t kTokensOfAThread = 128;

// Numbers from a block's beginning to a layer's keys; its values follow.
int64_t LayerOffset(const KvCache& cache, LayerIndex layer, int64_t g, int64_t e) {
  return cache.PlaceOf(layer) * 2 * g * kKvBlockTokens * e;
}

template <typename T>
void AttendRows(absl::Span<const BlockRow> rows, LayerIndex layer, const at::Tensor& query,
                const at::Tensor& output) {
  const int64_t h = query.size(1);
  const int64_t e = query.size(2);
  const int64_t g = rows[0].cache->blocks()[0]->memory.size(2);
  const auto* q = static_cast<const T*>(query.const_data_ptr());
  auto* out = static_cast<T*>(output.mutable_data_ptr());
  int64_t work = 1;
  for (const BlockRow& row : rows) {
    work += 2 * e * row.new_tokens * (row.cache->length() + row.new_tokens);
  }
  const auto count = static_cast<int64_t>(rows.size());
  const int64_t grain = std::max<int64_t>(1, kWorkOfAThread * count / work);
  ParallelFor(0, count * h, grain, [&](int64_t begin, int64_t end) {
    AttentionScratch scratch;
    for (int64_t item = begin; item < end; ++item) {
      const BlockRow& row = rows[item / h];
      const int64_t head = item % h;
      HeadView<T> view;
      view.blocks = row.cache->blocks();
      view.key_offset = LayerOffset(*row.cache, layer, g, e) + head / (h / g) * kKvBlockTokens * e;
      view.value_offset = view.key_offset + g * kKvBlockTokens * e;
      view.e = e;
      view.past = row.cache->length();
      view.new_tokens = row.new_tokens;
      view.query = q + row.start * query.stride(0) + head * query.stride(1);
      view.query_stride = query.stride(0);
      view.output = out + (row.start * h + head) * e;
      view.output_stride = h * e;
      Attend(view, scratch);
    }
  });
}

}  // namespace

void WriteBlocks(absl::Span<const BlockRow> rows, LayerIndex layer, const at::Tensor& key,
                 const at::Tensor& value) {
  const int64_t g = key.size(1);
  const int64_t e = key.size(2);
  const auto size = static_cast<int64_t>(key.element_size());
  for (const bool is_value : {false, true}) {
    const at::Tensor& given = is_value ? value : key;
    const at::Tensor from = given.stride(2) == 1 ? given : given.contiguous();
    const auto* source = static_cast<const char*>(from.const_data_ptr());
    for (const BlockRow& row : rows) {
      const int64_t offset =
          LayerOffset(*row.cache, layer, g, e) + (is_value ? g * kKvBlockTokens * e : 0);
      ParallelFor(0, row.new_tokens, kTokensOfAThread, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t position = row.cache->length() + i;
          char* to = row.cache->blocks()[position / kKvBlockTokens]->bytes +
                     (offset + position % kKvBlockTokens * e) * size;
          const char* token = source + (row.start + i) * from.stride(0) * size;
          for (int64_t head = 0; head < g; ++head) {
            std::memcpy(to + head * kKvBlockTokens * e * size, token + head * from.stride(1) * size,
                        e * size);
          }
        }
      });
    }
  }
}

void AttendBlocks(absl::Span<const BlockRow> rows, LayerIndex layer, const at::Tensor& query,
                  const at::Tensor& output) {
  const at::Tensor q = query.stride(2) == 1 ? query : query.contiguous();
  if (q.scalar_type() == at::kBFloat16) {
    AttendRows<hwy::bfloat16_t>(rows, layer, q, output);
  } else {
    AttendRows<float>(rows, layer, q, output);
  }
}

}  // namespace amend
#endif  // HWY_ONCE
