// Compiled once per instruction set; the one that the machine has is chosen at run time (Highway).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/model/product_kernels.cc"
#include "core/model/product_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

// In this order.
// clang-format off
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "core/model/gelu-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace amend {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using Floats = hn::Vec<FloatTag>;
using BitsTag = hn::RebindToUnsigned<FloatTag>;
using HalfBitsTag = hn::Rebind<uint16_t, FloatTag>;

// Outputs whose sums run side by side, and how many rows beside them: as many sums as registers
// hold.
constexpr int kOutputs = 4;
#if HWY_CAP_GE512
constexpr int kRows = 6;
#else
constexpr int kRows = 2;
#endif
// Rows whose unfinished sums are kept while a piece of the weight is in the cache.
constexpr int64_t kRowsKept = 32;
// Numbers of an output's row that are worked through at once: kOutputs pieces of this length stay
// in the cache nearest to the core, with those of kRows rows.
constexpr int64_t kPiece = 1024;

float ToFloat(float number) { return number; }
float ToFloat(BFloat16Bits number) {
  const uint32_t bits = static_cast<uint32_t>(number.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

Floats LoadFloats(const float* numbers) { return hn::LoadU(FloatTag(), numbers); }
Floats LoadFloats(const BFloat16Bits* numbers) {
  const auto bits = hn::LoadU(HalfBitsTag(), &numbers->bits);
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(BitsTag(), bits)));
}

void StoreFloats(Floats values, float* numbers) { hn::StoreU(values, FloatTag(), numbers); }
// Rounds to the nearest, ties to even, as LibTorch does.
void StoreFloats(Floats values, BFloat16Bits* numbers) {
  const BitsTag d;
  const auto bits = hn::BitCast(d, values);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(d, 0x7fff)), odd));
  const auto number = hn::RebindMask(d, hn::Eq(values, values));
  const auto result = hn::IfThenElse(number, rounded, hn::Set(d, 0x7fc0));
  const hn::RebindToSigned<FloatTag> di;
  hn::StoreU(hn::DemoteTo(HalfBitsTag(), hn::BitCast(di, result)), HalfBitsTag(), &numbers->bits);
}
void StoreOne(float value, float* number) { *number = value; }
void StoreOne(float value, BFloat16Bits* number) {
  HWY_ALIGN BFloat16Bits rounded[HWY_MAX_BYTES / sizeof(float)];
  StoreFloats(hn::Set(FloatTag(), value), rounded);
  *number = rounded[0];
}

// How many numbers of a row one step takes.
template <typename Number>
int64_t StepSize() {
  return static_cast<int64_t>(hn::Lanes(FloatTag())) * (sizeof(Number) == 2 ? 2 : 1);
}

// Loops over the arrays of vectors below: in registers only once they are unrolled.
#define AMEND_UNROLL _Pragma("GCC unroll 8")

// Adds the products of `count` numbers (a multiple of StepSize) of kOutputs outputs with those of
// kTimes rows, lane by lane, to sums[kTimes][kOutputs]. Meanwhile fetches what lies `ahead` numbers
// behind the weights, unless that is 0.
template <int kTimes>
HWY_INLINE void Accumulate(const float* const* weight, const float* x, int64_t x_stride,
                           int64_t count, int64_t ahead, float* sums) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  Floats sum[kTimes][kOutputs];
  AMEND_UNROLL for (int t = 0; t < kTimes; ++t) {
    AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
      sum[t][o] = hn::Load(d, sums + (t * kOutputs + o) * lanes);
    }
  }
  for (int64_t i = 0; i < count; i += lanes) {
    Floats w[kOutputs];
    AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
      w[o] = hn::LoadU(d, weight[o] + i);
      if (ahead != 0) __builtin_prefetch(weight[o] + i + ahead, 0, 2);
    }
    AMEND_UNROLL for (int t = 0; t < kTimes; ++t) {
      const Floats number = hn::LoadU(d, x + t * x_stride + i);
      AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
        sum[t][o] = hn::MulAdd(w[o], number, sum[t][o]);
      }
    }
  }
  AMEND_UNROLL for (int t = 0; t < kTimes; ++t) {
    AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
      hn::Store(sum[t][o], d, sums + (t * kOutputs + o) * lanes);
    }
  }
}

// The same. A step takes the numbers at even places of the weight, then those at odd ones:
// SpreadRows has them in this order.
template <int kTimes>
HWY_INLINE void Accumulate(const BFloat16Bits* const* weight, const float* x, int64_t x_stride,
                           int64_t count, int64_t ahead, float* sums) {
  const FloatTag d;
  const BitsTag bits_tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto upper = hn::Set(bits_tag, 0xffff0000u);
  Floats sum[kTimes][kOutputs];
  AMEND_UNROLL for (int t = 0; t < kTimes; ++t) {
    AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
      sum[t][o] = hn::Load(d, sums + (t * kOutputs + o) * lanes);
    }
  }
  for (int64_t i = 0; i < count; i += 2 * lanes) {
    // Unrolled too: as a loop it costs a fifth of the time.
    AMEND_UNROLL for (int odd = 0; odd < 2; ++odd) {
      Floats w[kOutputs];
      AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
        const auto pairs = hn::LoadU(bits_tag, reinterpret_cast<const uint32_t*>(weight[o] + i));
        if (odd == 0 && ahead != 0) __builtin_prefetch(weight[o] + i + ahead, 0, 2);
        w[o] = hn::BitCast(d, odd != 0 ? hn::And(pairs, upper) : hn::ShiftLeft<16>(pairs));
      }
      AMEND_UNROLL for (int t = 0; t < kTimes; ++t) {
        const Floats number = hn::LoadU(d, x + t * x_stride + i + odd * lanes);
        AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
          sum[t][o] = hn::MulAdd(w[o], number, sum[t][o]);
        }
      }
    }
  }
  AMEND_UNROLL for (int t = 0; t < kTimes; ++t) {
    AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
      hn::Store(sum[t][o], d, sums + (t * kOutputs + o) * lanes);
    }
  }
}

// Any number of rows, kRows at once. The next outputs' weights are fetched meanwhile: by the second
// rows, which find their own in the cache while the first ones wait for them, or by the only ones.
template <typename Number>
void AccumulateAll(const Number* const* weight, const float* x, int64_t in, int64_t rows,
                   int64_t count, float* sums) {
  const int64_t row_sums = kOutputs * static_cast<int64_t>(hn::Lanes(FloatTag()));
  for (int64_t t = 0; t < rows; t += kRows) {
    const float* const row = x + t * in;
    float* const sum = sums + t * row_sums;
    const int64_t ahead = t == (rows > kRows ? kRows : 0) ? kOutputs * in : 0;
    switch (std::min<int64_t>(kRows, rows - t)) {
      case 1:
        Accumulate<1>(weight, row, in, count, ahead, sum);
        break;
      case 2:
        Accumulate<2>(weight, row, in, count, ahead, sum);
        break;
#if HWY_CAP_GE512
      case 3:
        Accumulate<3>(weight, row, in, count, ahead, sum);
        break;
      case 4:
        Accumulate<4>(weight, row, in, count, ahead, sum);
        break;
      case 5:
        Accumulate<5>(weight, row, in, count, ahead, sum);
        break;
      default:
        Accumulate<6>(weight, row, in, count, ahead, sum);
#endif
    }
  }
}

// The sums over the lanes of kOutputs vectors, always in the same order.
HWY_INLINE void SumLanes(const float* sums, float* totals) {
  const FloatTag d;
  const hn::Repartition<double, FloatTag> pairs;
  const hn::FixedTag<float, kOutputs> four;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const Floats a = hn::Load(d, sums);
  const Floats b = hn::Load(d, sums + lanes);
  const Floats c = hn::Load(d, sums + 2 * lanes);
  const Floats e = hn::Load(d, sums + 3 * lanes);
  const auto ab =
      hn::BitCast(pairs, hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)));
  const auto ce =
      hn::BitCast(pairs, hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e)));
  HWY_ALIGN float blocks[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, ab, ce)),
                    hn::BitCast(d, hn::InterleaveUpper(pairs, ab, ce))),
            d, blocks);
  auto total = hn::Load(four, blocks);
  for (int64_t i = kOutputs; i < lanes; i += kOutputs) {
    total = hn::Add(total, hn::Load(four, blocks + i));
  }
  hn::Store(total, four, totals);
}

// kOutputs outputs from `first` on, fewer at the end of the weight, for up to kRowsKept rows.
template <typename Number>
void MultiplyOutputs(const WeightRows<Number>& weight, const float* x, int64_t rows, int64_t first,
                     float* y, int64_t y_stride) {
  HWY_ALIGN float sums[kRowsKept * kOutputs * HWY_MAX_BYTES / sizeof(float)];
  HWY_ALIGN float totals[kOutputs];
  const int64_t row_sums = kOutputs * static_cast<int64_t>(hn::Lanes(FloatTag()));
  const int64_t in = weight.in;
  const int64_t even = in / StepSize<Number>() * StepSize<Number>();
  const int64_t valid = std::min<int64_t>(kOutputs, weight.out - first);
  const Number* row[kOutputs];
  for (int o = 0; o < kOutputs; ++o) {
    row[o] = weight.numbers + (first + std::min<int64_t>(o, valid - 1)) * in;
  }
  std::memset(sums, 0, rows * row_sums * sizeof(float));
  for (int64_t begin = 0; begin < even; begin += kPiece) {
    const Number* piece[kOutputs];
    for (int o = 0; o < kOutputs; ++o) piece[o] = row[o] + begin;
    AccumulateAll(piece, x + begin, in, rows, std::min(kPiece, even - begin), sums);
  }
  for (int64_t t = 0; t < rows; ++t) {
    SumLanes(sums + t * row_sums, totals);
    for (int64_t o = 0; o < valid; ++o) {
      float total = totals[o];
      for (int64_t i = even; i < in; ++i) total += ToFloat(row[o][i]) * x[t * in + i];
      y[t * y_stride + first + o] = total;
    }
  }
}

template <typename Number>
void Multiply(const WeightRows<Number>& weight, const float* x, int64_t rows, int64_t begin,
              int64_t end, float* y, int64_t y_stride) {
  for (int64_t first = begin; first < end; first += kOutputs) {
    for (int64_t t = 0; t < rows; t += kRowsKept) {
      MultiplyOutputs(weight, x + t * weight.in, std::min(kRowsKept, rows - t), first,
                      y + t * y_stride, y_stride);
    }
  }
}

void MultiplyFloat(const WeightRows<float>& weight, const float* x, int64_t rows, int64_t begin,
                   int64_t end, float* y, int64_t y_stride) {
  Multiply(weight, x, rows, begin, end, y, y_stride);
}
void MultiplyBFloat16(const WeightRows<BFloat16Bits>& weight, const float* x, int64_t rows,
                      int64_t begin, int64_t end, float* y, int64_t y_stride) {
  Multiply(weight, x, rows, begin, end, y, y_stride);
}

void Spread(const BFloat16Bits* x, int64_t rows, int64_t in, float* spread) {
  const BitsTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto upper = hn::Set(d, 0xffff0000u);
  for (int64_t t = 0; t < rows; ++t, x += in, spread += in) {
    int64_t i = 0;
    for (; i + 2 * lanes <= in; i += 2 * lanes) {
      const auto pairs = hn::LoadU(d, reinterpret_cast<const uint32_t*>(x + i));
      StoreFloats(hn::BitCast(FloatTag(), hn::ShiftLeft<16>(pairs)), spread + i);
      StoreFloats(hn::BitCast(FloatTag(), hn::And(pairs, upper)), spread + i + lanes);
    }
    for (; i < in; ++i) spread[i] = ToFloat(x[i]);
  }
}

template <typename Number, typename Out>
void Finish(const Finishing<Number>& finishing, const float* sums, int64_t count, Out* y) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto finish = [&](Floats sum, Floats bias, Floats addend) HWY_ATTR {
    Floats value = hn::Add(sum, bias);
    Floats slope = value;
    if (finishing.activation == Activation::kGeluNew) GeluAndSlope(d, value, &value, &slope);
    if (finishing.activation == Activation::kGelu) value = GeluErf(d, value);
    return hn::Add(value, addend);
  };
  const Floats zero = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const Floats bias = finishing.bias == nullptr ? zero : LoadFloats(finishing.bias + i);
    const Floats addend = finishing.addend == nullptr ? zero : LoadFloats(finishing.addend + i);
    StoreFloats(finish(hn::LoadU(d, sums + i), bias, addend), y + i);
  }
  for (; i < count; ++i) {
    const float bias = finishing.bias == nullptr ? 0 : ToFloat(finishing.bias[i]);
    const float addend = finishing.addend == nullptr ? 0 : ToFloat(finishing.addend[i]);
    StoreOne(hn::GetLane(finish(hn::Set(d, sums[i]), hn::Set(d, bias), hn::Set(d, addend))), y + i);
  }
}

void FinishFloat(const Finishing<float>& finishing, const float* sums, int64_t count, float* y) {
  Finish(finishing, sums, count, y);
}
void FinishBFloat16(const Finishing<BFloat16Bits>& finishing, const float* sums, int64_t count,
                    BFloat16Bits* y) {
  Finish(finishing, sums, count, y);
}
void FinishMixed(const Finishing<BFloat16Bits>& finishing, const float* sums, int64_t count,
                 float* y) {
  Finish(finishing, sums, count, y);
}

// The sum over i of term(value of x[i]), four vectors side by side.
template <typename Number, typename Term>
HWY_INLINE float SumOf(const Number* x, int64_t count, const Term& term) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  Floats a = hn::Zero(d), b = a, c = a, e = a;
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    a = hn::Add(a, term(LoadFloats(x + i)));
    b = hn::Add(b, term(LoadFloats(x + i + lanes)));
    c = hn::Add(c, term(LoadFloats(x + i + 2 * lanes)));
    e = hn::Add(e, term(LoadFloats(x + i + 3 * lanes)));
  }
  for (; i + lanes <= count; i += lanes) a = hn::Add(a, term(LoadFloats(x + i)));
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
  for (; i < count; ++i) sum += hn::GetLane(term(hn::Set(d, ToFloat(x[i]))));
  return sum;
}

template <typename Number>
void Normalize(const Number* x, const Number* weight, const Number* bias, int64_t count,
               double epsilon, Number* y) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const float mean = SumOf(x, count, [](Floats v) HWY_ATTR { return v; }) / count;
  const Floats center = hn::Set(d, mean);
  const float variance = SumOf(x, count,
                               [&](Floats v) HWY_ATTR {
                                 const Floats apart = hn::Sub(v, center);
                                 return hn::Mul(apart, apart);
                               }) /
                         count;
  const float scale = static_cast<float>(1 / std::sqrt(variance + epsilon));
  const Floats factor = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const Floats even = hn::Mul(hn::Sub(LoadFloats(x + i), center), factor);
    StoreFloats(hn::MulAdd(even, LoadFloats(weight + i), LoadFloats(bias + i)), y + i);
  }
  for (; i < count; ++i) {
    StoreOne((ToFloat(x[i]) - mean) * scale * ToFloat(weight[i]) + ToFloat(bias[i]), y + i);
  }
}

template <typename Number>
void RmsNormalize(const Number* x, const Number* weight, int64_t count, double epsilon, Number* y) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const float square = SumOf(x, count, [](Floats v) HWY_ATTR { return hn::Mul(v, v); }) / count;
  const float scale = static_cast<float>(1 / std::sqrt(square + epsilon));
  const Floats factor = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    StoreFloats(hn::Mul(hn::Mul(LoadFloats(x + i), factor), LoadFloats(weight + i)), y + i);
  }
  for (; i < count; ++i) StoreOne(ToFloat(x[i]) * scale * ToFloat(weight[i]), y + i);
}

template <typename Number>
void SiluGate(const Number* gate, const Number* up, int64_t count, Number* y) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto gated = [&](Floats g, Floats u) HWY_ATTR {
    // exp(88) is still finite.
    const Floats power = hn::Exp(d, hn::Min(hn::Neg(g), hn::Set(d, 88.0f)));
    return hn::Mul(hn::Div(g, hn::Add(hn::Set(d, 1.0f), power)), u);
  };
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    StoreFloats(gated(LoadFloats(gate + i), LoadFloats(up + i)), y + i);
  }
  for (; i < count; ++i) {
    StoreOne(hn::GetLane(gated(hn::Set(d, ToFloat(gate[i])), hn::Set(d, ToFloat(up[i])))), y + i);
  }
}

void NormalizeFloat(const float* x, const float* weight, const float* bias, int64_t count,
                    double epsilon, float* y) {
  Normalize(x, weight, bias, count, epsilon, y);
}
void NormalizeBFloat16(const BFloat16Bits* x, const BFloat16Bits* weight, const BFloat16Bits* bias,
                       int64_t count, double epsilon, BFloat16Bits* y) {
  Normalize(x, weight, bias, count, epsilon, y);
}

void RmsNormalizeFloat(const float* x, const float* weight, int64_t count, double epsilon,
                       float* y) {
  RmsNormalize(x, weight, count, epsilon, y);
}
void RmsNormalizeBFloat16(const BFloat16Bits* x, const BFloat16Bits* weight, int64_t count,
                          double epsilon, BFloat16Bits* y) {
  RmsNormalize(x, weight, count, epsilon, y);
}

void SiluGateFloat(const float* gate, const float* up, int64_t count, float* y) {
  SiluGate(gate, up, count, y);
}
void SiluGateBFloat16(const BFloat16Bits* gate, const BFloat16Bits* up, int64_t count,
                      BFloat16Bits* y) {
  SiluGate(gate, up, count, y);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace amend
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace amend {

HWY_EXPORT(MultiplyFloat);
HWY_EXPORT(MultiplyBFloat16);
HWY_EXPORT(Spread);
HWY_EXPORT(FinishFloat);
HWY_EXPORT(FinishBFloat16);
HWY_EXPORT(FinishMixed);
HWY_EXPORT(NormalizeFloat);
HWY_EXPORT(NormalizeBFloat16);
HWY_EXPORT(RmsNormalizeFloat);
HWY_EXPORT(RmsNormalizeBFloat16);
HWY_EXPORT(SiluGateFloat);
HWY_EXPORT(SiluGateBFloat16);

void MultiplyRows(const WeightRows<float>& weight, const float* x, int64_t rows, int64_t begin,
                  int64_t end, float* y, int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(MultiplyFloat)(weight, x, rows, begin, end, y, y_stride);
}
void MultiplyRows(const WeightRows<BFloat16Bits>& weight, const float* x, int64_t rows,
                  int64_t begin, int64_t end, float* y, int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(MultiplyBFloat16)(weight, x, rows, begin, end, y, y_stride);
}
void SpreadRows(const BFloat16Bits* x, int64_t rows, int64_t in, float* spread) {
  HWY_DYNAMIC_DISPATCH(Spread)(x, rows, in, spread);
}
void FinishRow(const Finishing<float>& finishing, const float* sums, int64_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(FinishFloat)(finishing, sums, count, y);
}
void FinishRow(const Finishing<BFloat16Bits>& finishing, const float* sums, int64_t count,
               BFloat16Bits* y) {
  HWY_DYNAMIC_DISPATCH(FinishBFloat16)(finishing, sums, count, y);
}
void FinishRow(const Finishing<BFloat16Bits>& finishing, const float* sums, int64_t count,
               float* y) {
  HWY_DYNAMIC_DISPATCH(FinishMixed)(finishing, sums, count, y);
}
void NormalizeRow(const float* x, const float* weight, const float* bias, int64_t count,
                  double epsilon, float* y) {
  HWY_DYNAMIC_DISPATCH(NormalizeFloat)(x, weight, bias, count, epsilon, y);
}
void NormalizeRow(const BFloat16Bits* x, const BFloat16Bits* weight, const BFloat16Bits* bias,
                  int64_t count, double epsilon, BFloat16Bits* y) {
  HWY_DYNAMIC_DISPATCH(NormalizeBFloat16)(x, weight, bias, count, epsilon, y);
}
void RmsNormalizeRow(const float* x, const float* weight, int64_t count, double epsilon, float* y) {
  HWY_DYNAMIC_DISPATCH(RmsNormalizeFloat)(x, weight, count, epsilon, y);
}
void RmsNormalizeRow(const BFloat16Bits* x, const BFloat16Bits* weight, int64_t count,
                     double epsilon, BFloat16Bits* y) {
  HWY_DYNAMIC_DISPATCH(RmsNormalizeBFloat16)(x, weight, count, epsilon, y);
}
void SiluGateRow(const float* gate, const float* up, int64_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(SiluGateFloat)(gate, up, count, y);
}
void SiluGateRow(const BFloat16Bits* gate, const BFloat16Bits* up, int64_t count, BFloat16Bits* y) {
  HWY_DYNAMIC_DISPATCH(SiluGateBFloat16)(gate, up, count, y);
}

}  // namespace amend
#endif  // HWY_ONCE
