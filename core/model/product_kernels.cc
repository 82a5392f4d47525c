// Compiled once per instruction set; the one that the machine has is chosen at run time (Highway).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/model/product_kernels.cc"
#include "core/model/product_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

// In this order.
// clang-format off
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "core/model/gelu-inl.h"
#include "core/model/sum_lanes-inl.h"
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
constexpr int kOutputs = kSumsTogether;
#if HWY_CAP_GE512
constexpr int kRows = 6;
#else
constexpr int kRows = 2;
#endif
// Bytes of rows up to which the core's own cache holds them all. Then they pass kOutputs outputs
// after the other; more rows pass a tile of outputs after the other.
constexpr int64_t kCachedRows = 256 << 10;
// Vectors of outputs of a tile: with kRows rows as many sums as registers hold.
constexpr int kTileVectors = 4;
// Of the cache.
constexpr int64_t kLineBytes = 64;

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

// Loops over the arrays of vectors below: in registers only once they are unrolled.
#define AMEND_UNROLL _Pragma("GCC unroll 8")

// Vectors that one step takes of a row's numbers: in bfloat16 those at even places, then those at
// odd ones.
template <typename Number>
constexpr int kVectors = sizeof(Number) == 2 ? 2 : 1;
template <typename Number>
int64_t StepSize() {
  return kVectors<Number> * static_cast<int64_t>(hn::Lanes(FloatTag()));
}
// Steps of a row. The last one may go past its end, with zeros.
template <typename Number>
int64_t StepsOf(int64_t in) {
  return (in + StepSize<Number>() - 1) / StepSize<Number>();
}

HWY_INLINE Floats LoadVector(const float* step, int /*vector*/) { return LoadFloats(step); }
HWY_INLINE Floats LoadVector(const BFloat16Bits* step, int vector) {
  const BitsTag d;
  const auto pairs = hn::LoadU(d, reinterpret_cast<const uint32_t*>(step));
  return hn::BitCast(
      FloatTag(), vector != 0 ? hn::And(pairs, hn::Set(d, 0xffff0000u)) : hn::ShiftLeft<16>(pairs));
}

// kOutputs outputs where they lie. Fetches what lies `ahead` numbers behind them meanwhile.
template <typename Number>
struct InPlace {
  static constexpr int kParts = kVectors<Number>;
  const Number* row[kOutputs];
  int64_t ahead = 0;
  // Where they are left for Packed; null: nowhere.
  float* packed = nullptr;

  HWY_INLINE void Load(int64_t step, int part, Floats* w) const {
    const FloatTag d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const int64_t vector = step * kParts + part;
    AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
      const Number* const numbers = row[o] + step * kParts * lanes;
      w[o] = LoadVector(numbers, part);
      if (part == 0) __builtin_prefetch(numbers + ahead, 0, 2);
    }
    if (packed == nullptr) return;
    AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
      hn::Store(w[o], d, packed + (vector * kOutputs + o) * lanes);
    }
  }
};

// kOutputs outputs, a vector of each after the other. Fetches what lies at `next` meanwhile, unless
// that is null.
struct Packed {
  static constexpr int kParts = 1;
  static constexpr int64_t kLinesOfStep = 2;
  const float* numbers = nullptr;
  const char* next = nullptr;

  HWY_INLINE void Load(int64_t step, int /*part*/, Floats* w) const {
    const FloatTag d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
      w[o] = hn::Load(d, numbers + (step * kOutputs + o) * lanes);
    }
    if (next == nullptr) return;
    AMEND_UNROLL for (int line = 0; line < kLinesOfStep; ++line) {
      __builtin_prefetch(next + (step * kLinesOfStep + line) * kLineBytes, 0, 2);
    }
  }
};

// Adds the products of `steps` steps of kOutputs outputs with those of kTimes rows, lane by lane,
// to sums[kTimes][kOutputs]. x has a vector of each row after the other.
template <int kTimes, typename Weight>
HWY_INLINE void Accumulate(const Weight& weight, const float* x, int64_t steps, float* sums) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  Floats sum[kTimes][kOutputs];
  AMEND_UNROLL for (int t = 0; t < kTimes; ++t) {
    AMEND_UNROLL for (int o = 0; o < kOutputs; ++o) {
      sum[t][o] = hn::Load(d, sums + (t * kOutputs + o) * lanes);
    }
  }
  for (int64_t step = 0; step < steps; ++step) {
    // Unrolled too: as a loop it costs a fifth of the time.
    AMEND_UNROLL for (int part = 0; part < Weight::kParts; ++part) {
      Floats w[kOutputs];
      weight.Load(step, part, w);
      AMEND_UNROLL for (int t = 0; t < kTimes; ++t) {
        const Floats number = hn::LoadU(d, x);
        x += lanes;
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

// Calls body with `rows`, 1 to kRows, as a constant.
template <typename Body>
HWY_INLINE void WithRows(int64_t rows, const Body& body) {
  switch (rows) {
    case 1:
      return body(std::integral_constant<int, 1>());
#if HWY_CAP_GE512
    case 2:
      return body(std::integral_constant<int, 2>());
    case 3:
      return body(std::integral_constant<int, 3>());
    case 4:
      return body(std::integral_constant<int, 4>());
    case 5:
      return body(std::integral_constant<int, 5>());
#endif
    default:
      return body(std::integral_constant<int, kRows>());
  }
}

// The same for 1 to kRows rows.
template <typename Weight>
void AccumulateRows(const Weight& weight, const float* x, int64_t rows, int64_t steps,
                    float* sums) {
  WithRows(rows, [&](auto times)
                     HWY_ATTR { Accumulate<decltype(times)::value>(weight, x, steps, sums); });
}

// What `rows` rows give of `count` outputs, from their sums over lanes.
void StoreTotals(const float* sums, int64_t rows, int64_t count, float* y, int64_t y_stride) {
  const int64_t row_sums = kOutputs * static_cast<int64_t>(hn::Lanes(FloatTag()));
  for (int64_t t = 0; t < rows; ++t) {
    float* const row = y + t * y_stride;
    if (count == kOutputs) {
      SumLanes(sums + t * row_sums, row);
      continue;
    }
    float totals[kOutputs];
    SumLanes(sums + t * row_sums, totals);
    std::copy_n(totals, count, row);
  }
}

// The numbers of one step of a row: where they lie, or, where the row ends before, followed by
// zeros in `padded`.
template <typename Number>
const Number* WholeStep(const Number* row, int64_t in, int64_t step, Number* padded) {
  const int64_t size = StepSize<Number>();
  const int64_t begin = step * size;
  if (begin + size <= in) return row + begin;
  std::fill_n(padded, size, Number());
  std::copy_n(row + begin, in - begin, padded);
  return padded;
}

// kOutputs outputs from `first` on, fewer at the end of the weight, of up to kRows rows: the sums
// over lanes.
template <typename Number>
void MultiplyInPlace(const WeightRows<Number>& weight, int64_t first, int64_t ahead, const float* x,
                     int64_t rows, float* packed, float* sums) {
  HWY_ALIGN Number padded[kOutputs][2 * HWY_MAX_BYTES / sizeof(float)];
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
  const int64_t whole = weight.in / StepSize<Number>();
  InPlace<Number> outputs;
  for (int o = 0; o < kOutputs; ++o) {
    outputs.row[o] = weight.numbers + std::min(first + o, weight.out - 1) * weight.in;
  }
  outputs.ahead = ahead;
  outputs.packed = packed;
  std::memset(sums, 0, rows * kOutputs * lanes * sizeof(float));
  AccumulateRows(outputs, x, rows, whole, sums);
  if (whole == StepsOf<Number>(weight.in)) return;
  for (int o = 0; o < kOutputs; ++o) {
    outputs.row[o] = WholeStep(outputs.row[o], weight.in, whole, padded[o]);
  }
  outputs.ahead = 0;
  const int64_t vectors = whole * kVectors<Number>;
  if (packed != nullptr) outputs.packed = packed + vectors * kOutputs * lanes;
  AccumulateRows(outputs, x + vectors * rows * lanes, rows, 1, sums);
}

// Room for `count` floats at the address of a vector, kept from call to call.
float* Room(int64_t count) {
  thread_local std::vector<float> room;
  constexpr int64_t kSlack = HWY_MAX_BYTES / sizeof(float);
  if (static_cast<int64_t>(room.size()) < count + kSlack) room.resize(count + kSlack);
  const auto address = reinterpret_cast<uintptr_t>(room.data());
  return room.data() + (HWY_MAX_BYTES - address % HWY_MAX_BYTES) % HWY_MAX_BYTES / sizeof(float);
}

template <typename Number>
bool AreCached(int64_t rows, int64_t in) {
  return rows <= kRows ||
         rows * StepsOf<Number>(in) * StepSize<Number>() * static_cast<int64_t>(sizeof(float)) <=
             kCachedRows;
}

// The first kRows rows take kOutputs outputs as they lie, and leave them in order for the others.
// Meanwhile those fetch the next ones. For rows that the cache holds.
template <typename Number>
class Multiplication {
 public:
  Multiplication(const WeightRows<Number>& weight, const float* x, int64_t rows, float* y,
                 int64_t y_stride)
      : weight_(weight),
        x_(x),
        rows_(rows),
        y_(y),
        y_stride_(y_stride),
        vectors_(StepsOf<Number>(weight.in) * kVectors<Number>),
        row_floats_(vectors_ * Lanes()),
        sums_(Room(kRows * kOutputs * Lanes() + (rows > kRows ? kOutputs * row_floats_ : 0))),
        packed_(rows > kRows ? sums_ + kRows * kOutputs * Lanes() : nullptr) {}

  void Outputs(int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kOutputs) {
      const int64_t count = std::min<int64_t>(kOutputs, end - first);
      FirstRows(first, count, first == begin);
      next_ = weight_.numbers + (first + count) * weight_.in;
      next_end_ = weight_.numbers + std::min(first + count + kOutputs, end) * weight_.in;
      for (int64_t t = kRows; t < rows_; t += kRows) OtherRows(t, first, count);
    }
  }

 private:
  static int64_t Lanes() { return static_cast<int64_t>(hn::Lanes(FloatTag())); }

  // Outputs that no other rows fetched before are fetched here.
  void FirstRows(int64_t first, int64_t count, bool unfetched) {
    const int64_t together = std::min<int64_t>(kRows, rows_);
    const int64_t ahead = packed_ == nullptr || unfetched ? kOutputs * weight_.in : 0;
    MultiplyInPlace(weight_, first, ahead, x_, together, packed_, sums_);
    StoreTotals(sums_, together, count, y_ + first, y_stride_);
  }

  void OtherRows(int64_t t, int64_t first, int64_t count) {
    const int64_t together = std::min<int64_t>(kRows, rows_ - t);
    std::memset(sums_, 0, kRows * kOutputs * Lanes() * sizeof(float));
    const bool fetches = next_ < next_end_;
    const Packed outputs{packed_, fetches ? reinterpret_cast<const char*>(next_) : nullptr};
    AccumulateRows(outputs, x_ + t * row_floats_, together, vectors_, sums_);
    if (fetches) {
      next_ += vectors_ * Packed::kLinesOfStep * kLineBytes / static_cast<int64_t>(sizeof(Number));
    }
    StoreTotals(sums_, together, count, y_ + t * y_stride_ + first, y_stride_);
  }

  const WeightRows<Number>& weight_;
  const float* const x_;
  const int64_t rows_;
  float* const y_;
  const int64_t y_stride_;
  const int64_t vectors_;
  const int64_t row_floats_;
  float* const sums_;
  float* const packed_;  // null where there are no other rows
  const Number* next_ = nullptr;
  const Number* next_end_ = nullptr;
};

// For many rows: outputs side by side in vectors instead of one output's numbers, so that each
// vector of weights meets kRows rows and each number of a row kTileVectors vectors, and less is
// read per product. Each lane of the sums above is a sum of its own here, over the numbers at every
// Lanes()-th place, and they are added as SumLanes does: the same bits.
template <typename Number>
class TileMultiplication {
 public:
  TileMultiplication(const WeightRows<Number>& weight, const float* x, int64_t rows, float* y,
                     int64_t y_stride)
      : weight_(weight),
        x_(x),
        rows_(rows),
        y_(y),
        y_stride_(y_stride),
        vectors_(StepsOf<Number>(weight.in) * kVectors<Number>),
        // One line more: lanes would all begin at one place of the cache.
        lane_floats_(vectors_ * Width() + kLineBytes / static_cast<int64_t>(sizeof(float))),
        packed_(Room(Lanes() * lane_floats_ + (kSumsTogether + 1) * kRows * Width())),
        sums_(packed_ + Lanes() * lane_floats_) {}

  void Outputs(int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += Width()) {
      const int64_t count = std::min(Width(), end - first);
      Pack(first, count);
      for (int64_t t = 0; t < rows_; t += kRows) {
        const int64_t together = std::min<int64_t>(kRows, rows_ - t);
        MultiplyTile(x_ + t * vectors_ * Lanes(), together);
        const float* const totals = Sums(kSumsTogether);
        for (int64_t i = 0; i < together; ++i) {
          std::copy_n(totals + i * Width(), count, y_ + (t + i) * y_stride_ + first);
        }
      }
    }
  }

 private:
  static int64_t Lanes() { return static_cast<int64_t>(hn::Lanes(FloatTag())); }
  // Outputs of a tile.
  static int64_t Width() { return kTileVectors * Lanes(); }
  // Of one lane, or, behind those of kSumsTogether lanes, of all so far.
  float* Sums(int64_t number) const { return sums_ + number * kRows * Width(); }

  // The outputs' numbers by lane, then by vector, then by output.
  void Pack(int64_t first, int64_t count) {
    for (int64_t vector = 0; vector < vectors_; ++vector) {
      for (int64_t o = 0; o < Width(); o += kSumsTogether) PackFour(first, count, vector, o);
    }
  }

  // One vector of kSumsTogether outputs. Behind the last output stand copies of it.
  void PackFour(int64_t first, int64_t count, int64_t vector, int64_t o) {
    static_assert(kSumsTogether == 4);
    const FloatTag d;
    const hn::Repartition<double, FloatTag> pairs;
    const int64_t step = vector / kVectors<Number>;
    const int part = static_cast<int>(vector % kVectors<Number>);
    HWY_ALIGN Number padded[2 * HWY_MAX_BYTES / sizeof(float)];
    const auto load = [&](int64_t output) HWY_ATTR {
      const Number* const row =
          weight_.numbers + (first + std::min(output, count - 1)) * weight_.in;
      return LoadVector(WholeStep(row, weight_.in, step, padded), part);
    };
    const Floats a = load(o), b = load(o + 1), c = load(o + 2), e = load(o + 3);
    const auto ab_low = hn::BitCast(pairs, hn::InterleaveLower(d, a, b));
    const auto ab_high = hn::BitCast(pairs, hn::InterleaveUpper(d, a, b));
    const auto ce_low = hn::BitCast(pairs, hn::InterleaveLower(d, c, e));
    const auto ce_high = hn::BitCast(pairs, hn::InterleaveUpper(d, c, e));
    // In each block of four, the four outputs at lane 0, 1, 2 and 3 of the block.
    HWY_ALIGN float lanes[4][HWY_MAX_BYTES / sizeof(float)];
    hn::Store(hn::BitCast(d, hn::InterleaveLower(pairs, ab_low, ce_low)), d, lanes[0]);
    hn::Store(hn::BitCast(d, hn::InterleaveUpper(pairs, ab_low, ce_low)), d, lanes[1]);
    hn::Store(hn::BitCast(d, hn::InterleaveLower(pairs, ab_high, ce_high)), d, lanes[2]);
    hn::Store(hn::BitCast(d, hn::InterleaveUpper(pairs, ab_high, ce_high)), d, lanes[3]);
    for (int64_t lane = 0; lane < Lanes(); ++lane) {
      std::memcpy(packed_ + lane * lane_floats_ + vector * Width() + o,
                  lanes[lane % 4] + lane / 4 * 4, 4 * sizeof(float));
    }
  }

  void MultiplyTile(const float* x, int64_t together) {
    const FloatTag d;
    const int64_t count = together * Width();
    for (int64_t lane = 0; lane < Lanes(); lane += kSumsTogether) {
      for (int64_t i = 0; i < kSumsTogether; ++i) {
        SumLane(packed_ + (lane + i) * lane_floats_, x + (lane + i) * vectors_ * together, together,
                Sums(i));
      }
      float* const total = Sums(kSumsTogether);
      for (int64_t i = 0; i < count; i += Lanes()) {
        const auto sum = [&](int64_t number) HWY_ATTR { return hn::Load(d, Sums(number) + i); };
        Floats block = hn::Add(hn::Add(sum(0), sum(2)), hn::Add(sum(1), sum(3)));
        if (lane > 0) block = hn::Add(hn::Load(d, total + i), block);
        hn::Store(block, d, total + i);
      }
    }
  }

  void SumLane(const float* weight, const float* x, int64_t together, float* sums) const {
    WithRows(together,
             [&](auto times) HWY_ATTR { SumRows<decltype(times)::value>(weight, x, sums); });
  }

  template <int kTimes>
  HWY_INLINE void SumRows(const float* weight, const float* x, float* sums) const {
    const FloatTag d;
    const int64_t lanes = Lanes();
    Floats sum[kTimes][kTileVectors];
    AMEND_UNROLL for (int t = 0; t < kTimes; ++t) {
      AMEND_UNROLL for (int v = 0; v < kTileVectors; ++v) sum[t][v] = hn::Zero(d);
    }
    for (int64_t vector = 0; vector < vectors_; ++vector) {
      Floats w[kTileVectors];
      AMEND_UNROLL for (int v = 0; v < kTileVectors; ++v) w[v] = hn::Load(d, weight + v * lanes);
      weight += kTileVectors * lanes;
      AMEND_UNROLL for (int t = 0; t < kTimes; ++t) {
        const Floats number = hn::Set(d, x[t]);
        AMEND_UNROLL for (int v = 0; v < kTileVectors; ++v) {
          sum[t][v] = hn::MulAdd(w[v], number, sum[t][v]);
        }
      }
      x += kTimes;
    }
    AMEND_UNROLL for (int t = 0; t < kTimes; ++t) {
      AMEND_UNROLL for (int v = 0; v < kTileVectors; ++v) {
        hn::Store(sum[t][v], d, sums + (t * kTileVectors + v) * lanes);
      }
    }
  }

  const WeightRows<Number>& weight_;
  const float* const x_;
  const int64_t rows_;
  float* const y_;
  const int64_t y_stride_;
  const int64_t vectors_;
  const int64_t lane_floats_;
  float* const packed_;
  float* const sums_;
};

template <typename Number>
void Multiply(const WeightRows<Number>& weight, const float* x, int64_t rows, int64_t begin,
              int64_t end, float* y, int64_t y_stride) {
  if (AreCached<Number>(rows, weight.in)) {
    Multiplication<Number>(weight, x, rows, y, y_stride).Outputs(begin, end);
  } else {
    TileMultiplication<Number>(weight, x, rows, y, y_stride).Outputs(begin, end);
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

// By kRows rows: a vector of each after the other where the cache holds all rows, otherwise by
// lane, then by vector, then by row.
template <typename Number>
void Pack(const Number* x, int64_t rows, int64_t in, int64_t begin, int64_t end, float* packed) {
  const FloatTag d;
  HWY_ALIGN Number padded[2 * HWY_MAX_BYTES / sizeof(float)];
  HWY_ALIGN float numbers[HWY_MAX_BYTES / sizeof(float)];
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t vectors = StepsOf<Number>(in) * kVectors<Number>;
  const bool cached = AreCached<Number>(rows, in);
  for (int64_t t = begin; t < end; ++t) {
    const int64_t tile = t / kRows * kRows;
    const int64_t together = std::min<int64_t>(kRows, rows - tile);
    float* const to = packed + tile * vectors * lanes;
    for (int64_t vector = 0; vector < vectors; ++vector) {
      const Floats part = LoadVector(WholeStep(x + t * in, in, vector / kVectors<Number>, padded),
                                     static_cast<int>(vector % kVectors<Number>));
      if (cached) {
        hn::StoreU(part, d, to + (vector * together + t - tile) * lanes);
        continue;
      }
      hn::Store(part, d, numbers);
      for (int64_t lane = 0; lane < lanes; ++lane) {
        to[(lane * vectors + vector) * together + t - tile] = numbers[lane];
      }
    }
  }
}

void PackFloat(const float* x, int64_t rows, int64_t in, int64_t begin, int64_t end,
               float* packed) {
  Pack(x, rows, in, begin, end, packed);
}
void PackBFloat16(const BFloat16Bits* x, int64_t rows, int64_t in, int64_t begin, int64_t end,
                  float* packed) {
  Pack(x, rows, in, begin, end, packed);
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
HWY_EXPORT(PackFloat);
HWY_EXPORT(PackBFloat16);
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
void PackRows(const float* x, int64_t rows, int64_t in, int64_t begin, int64_t end, float* packed) {
  HWY_DYNAMIC_DISPATCH(PackFloat)(x, rows, in, begin, end, packed);
}
void PackRows(const BFloat16Bits* x, int64_t rows, int64_t in, int64_t begin, int64_t end,
              float* packed) {
  HWY_DYNAMIC_DISPATCH(PackBFloat16)(x, rows, in, begin, end, packed);
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
