// Compiled once per instruction set; the one that the machine has is chosen at run time (Highway).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/editing/row_codes.cc"
#include "core/editing/row_codes.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#ifndef AMEND_CORE_EDITING_ROW_CODES_ONCE
#define AMEND_CORE_EDITING_ROW_CODES_ONCE
namespace amend {

// The orthogonal Hadamard matrix by which rows are turned, n numbers at a time.
struct Rotation {
  int64_t n = 1;
  std::vector<float> matrix;  // [n, n]
};

// Sums of squares over one row.
struct RowSums {
  float scale = 1;
  float error = 0;
  float square = 0;
  float coded_square = 0;
};

}  // namespace amend
#endif  // AMEND_CORE_EDITING_ROW_CODES_ONCE

HWY_BEFORE_NAMESPACE();
namespace amend {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// rotated = row, n numbers at a time, times the rotation's matrix. That is a Kronecker product of
// Hadamard matrices: the one of a register's lanes is multiplied, the others are sums and
// differences of registers.
void Rotate(const Rotation& rotation, const float* row, int64_t count, float* rotated) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t n = rotation.n;
  const float* matrix = rotation.matrix.data();
  if (n < lanes) {
    for (int64_t j = 0; j < count; ++j) {
      const float* block = row + j / n * n;
      float sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += block[i] * matrix[i * n + j % n];
      rotated[j] = sum;
    }
    return;
  }
  for (int64_t block = 0; block < count; block += n, row += n, rotated += n) {
    for (int64_t k = 0; k < n; k += lanes) {
      auto sum = hn::Zero(d);
      for (int64_t i = 0; i < lanes; ++i) {
        sum = hn::MulAdd(hn::Set(d, row[k + i]), hn::LoadU(d, matrix + i * n), sum);
      }
      hn::StoreU(sum, d, rotated + k);
    }
    for (int64_t half = lanes; half < n; half *= 2) {
      for (int64_t first = 0; first < n; first += 2 * half) {
        for (int64_t k = first; k < first + half; k += lanes) {
          const auto a = hn::LoadU(d, rotated + k);
          const auto b = hn::LoadU(d, rotated + k + half);
          hn::StoreU(hn::Add(a, b), d, rotated + k);
          hn::StoreU(hn::Sub(a, b), d, rotated + k + half);
        }
      }
    }
  }
}

RowSums Quantize(const float* numbers, int64_t count, int8_t* codes) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<int32_t, decltype(d)> d32;
  const hn::Rebind<int8_t, decltype(d)> d8;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto most = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) most = hn::Max(most, hn::Abs(hn::LoadU(d, numbers + i)));
  float largest = hn::GetLane(hn::MaxOfLanes(d, most));
  for (; i < count; ++i) largest = std::max(largest, std::abs(numbers[i]));
  RowSums sums;
  sums.scale = largest > 0 ? largest / 127 : 1.0f;
  const auto inverse = hn::Set(d, 1 / sums.scale), limit = hn::Set(d, 127.0f);
  auto errors = hn::Zero(d), squares = hn::Zero(d), coded = hn::Zero(d);
  for (i = 0; i + lanes <= count; i += lanes) {
    const auto x = hn::LoadU(d, numbers + i);
    const auto code = hn::Max(hn::Neg(limit), hn::Min(limit, hn::Round(hn::Mul(x, inverse))));
    const auto whole = hn::ConvertTo(d32, code);
    hn::StoreU(hn::DemoteTo(d8, whole), d8, codes + i);
    const auto back = hn::Mul(hn::ConvertTo(d, whole), hn::Set(d, sums.scale));
    const auto off = hn::Sub(x, back);
    errors = hn::MulAdd(off, off, errors);
    squares = hn::MulAdd(x, x, squares);
    coded = hn::MulAdd(back, back, coded);
  }
  sums.error = hn::GetLane(hn::SumOfLanes(d, errors));
  sums.square = hn::GetLane(hn::SumOfLanes(d, squares));
  sums.coded_square = hn::GetLane(hn::SumOfLanes(d, coded));
  for (; i < count; ++i) {
    const float code = std::max(-127.0f, std::min(127.0f, std::nearbyint(numbers[i] / sums.scale)));
    codes[i] = static_cast<int8_t>(code);
    const float back = static_cast<float>(codes[i]) * sums.scale;
    const float off = numbers[i] - back;
    sums.error += off * off;
    sums.square += numbers[i] * numbers[i];
    sums.coded_square += back * back;
  }
  return sums;
}

}  // namespace HWY_NAMESPACE
}  // namespace amend
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace amend {
namespace {

HWY_EXPORT(Rotate);
HWY_EXPORT(Quantize);

Rotation MakeRotation(int64_t n) {
  Rotation rotation{n, std::vector<float>(n * n, 1 / std::sqrt(static_cast<float>(n)))};
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      bool negative = false;
      for (int64_t both = i & j; both != 0; both &= both - 1) negative = !negative;
      if (negative) rotation.matrix[i * n + j] *= -1;
    }
  }
  return rotation;
}

const Rotation& RotationFor(int64_t count) {
  static const auto* const rotations = [] {
    auto* made = new std::vector<Rotation>;
    for (int64_t n = 1; n <= kMaxRotated; n *= 2) made->push_back(MakeRotation(n));
    return made;
  }();
  const Rotation* rotation = nullptr;
  for (const Rotation& larger : *rotations) {
    if (count % larger.n == 0) rotation = &larger;
  }
  return *rotation;
}

float NormOf(float square) {
  return static_cast<float>(std::sqrt(static_cast<double>(square)) * kNormSlack);
}

}  // namespace

RowCode CodeRow(const float* row, int64_t count, int8_t* codes) {
  // Of this thread, for the next row too.
  thread_local std::vector<float> rotated;
  if (static_cast<int64_t>(rotated.size()) < count) rotated.resize(static_cast<size_t>(count));
  HWY_DYNAMIC_DISPATCH(Rotate)(RotationFor(count), row, count, rotated.data());
  const RowSums sums = HWY_DYNAMIC_DISPATCH(Quantize)(rotated.data(), count, codes);
  return {sums.scale, NormOf(sums.error), NormOf(sums.square), NormOf(sums.coded_square)};
}

}  // namespace amend
#endif  // HWY_ONCE
