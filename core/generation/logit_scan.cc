// Compiled once per instruction set; the one that the machine has is chosen at run time (Highway).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/generation/logit_scan.cc"
#include "core/generation/logit_scan.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

// In this order.
// clang-format off
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "hwy/contrib/math/math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace amend {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using Floats = hn::Vec<FloatTag>;

// Vectors of terms that are summed in float32, before that is added to the sum in float64.
constexpr int64_t kVectorsInFloat = 16;

// `logits` where they are finite, `otherwise` elsewhere.
HWY_INLINE Floats Finite(Floats logits, Floats otherwise) {
  const FloatTag d;
  const Floats largest = hn::Set(d, std::numeric_limits<float>::max());
  // False for what is not a number.
  return hn::IfThenElse(hn::Le(hn::Abs(logits), largest), logits, otherwise);
}

// The largest finite logit; minus infinity when there is none.
float Largest(const float* logits, int64_t count) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  const Floats none = hn::Set(d, kNone);
  Floats a = none, b = none;
  int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    a = hn::Max(a, Finite(hn::LoadU(d, logits + i), none));
    b = hn::Max(b, Finite(hn::LoadU(d, logits + i + lanes), none));
  }
  float largest = hn::GetLane(hn::MaxOfLanes(d, hn::Max(a, b)));
  for (; i < count; ++i) {
    if (std::isfinite(logits[i])) largest = std::max(largest, logits[i]);
  }
  return largest;
}

// The first place of `value`, which is there.
int64_t PlaceOf(float value, const float* logits, int64_t count) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const Floats wanted = hn::Set(d, value);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const intptr_t lane = hn::FindFirstTrue(d, hn::Eq(hn::LoadU(d, logits + i), wanted));
    if (lane >= 0) return i + lane;
  }
  while (i < count && logits[i] != value) ++i;
  return i;
}

double SumExp(const float* logits, int64_t count, float best) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const Floats none = hn::Set(d, -std::numeric_limits<float>::max());
  const Floats center = hn::Set(d, best);
  const auto term = [&](Floats values) HWY_ATTR {
    // Below the floor exp is zero for float32.
    const Floats apart = hn::Sub(Finite(values, none), center);
    return hn::IfThenElseZero(hn::Gt(apart, hn::Set(d, -104.0f)), hn::Exp(d, apart));
  };
  double sum = 0;
  int64_t i = 0;
  while (i + lanes <= count) {
    const int64_t end = std::min(count, i + kVectorsInFloat * lanes);
    Floats part = hn::Zero(d);
    for (; i + lanes <= end; i += lanes) part = hn::Add(part, term(hn::LoadU(d, logits + i)));
    sum += hn::GetLane(hn::SumOfLanes(d, part));
  }
  for (; i < count; ++i) sum += hn::GetLane(term(hn::Set(d, logits[i])));
  return sum;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace amend
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace amend {

HWY_EXPORT(Largest);
HWY_EXPORT(PlaceOf);
HWY_EXPORT(SumExp);

BestLogit FindBestLogit(absl::Span<const float> logits) {
  const int64_t count = static_cast<int64_t>(logits.size());
  const float largest = HWY_DYNAMIC_DISPATCH(Largest)(logits.data(), count);
  if (!std::isfinite(largest)) return {};
  const int64_t place = HWY_DYNAMIC_DISPATCH(PlaceOf)(largest, logits.data(), count);
  return {static_cast<TokenId>(place), largest};
}

double LogSumExpBelow(absl::Span<const float> logits, float best) {
  const int64_t count = static_cast<int64_t>(logits.size());
  return std::log(HWY_DYNAMIC_DISPATCH(SumExp)(logits.data(), count, best));
}

}  // namespace amend
#endif  // HWY_ONCE
