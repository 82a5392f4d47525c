// Sums over the lanes of vectors. Included once per instruction set (Highway), inside and outside
// of its toggle.
#if defined(AMEND_CORE_MODEL_SUM_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef AMEND_CORE_MODEL_SUM_LANES_INL_H_
#undef AMEND_CORE_MODEL_SUM_LANES_INL_H_
#else
#define AMEND_CORE_MODEL_SUM_LANES_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace amend {
namespace HWY_NAMESPACE {

// Vectors whose lanes SumLanes sums side by side.
constexpr int kSumsTogether = 4;

// The sums over the lanes of kSumsTogether vectors of float that lie one after the other, always in
// the same order. `sums` is at the address of a vector.
HWY_INLINE void SumLanes(const float* sums, float* totals) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  const hn::Repartition<double, hn::ScalableTag<float>> pairs;
  const hn::FixedTag<float, kSumsTogether> four;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto a = hn::Load(d, sums);
  const auto b = hn::Load(d, sums + lanes);
  const auto c = hn::Load(d, sums + 2 * lanes);
  const auto e = hn::Load(d, sums + 3 * lanes);
  const auto ab =
      hn::BitCast(pairs, hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)));
  const auto ce =
      hn::BitCast(pairs, hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e)));
  HWY_ALIGN float blocks[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, ab, ce)),
                    hn::BitCast(d, hn::InterleaveUpper(pairs, ab, ce))),
            d, blocks);
  auto total = hn::Load(four, blocks);
  for (int64_t i = kSumsTogether; i < lanes; i += kSumsTogether) {
    total = hn::Add(total, hn::Load(four, blocks + i));
  }
  hn::StoreU(total, four, totals);
}

}  // namespace HWY_NAMESPACE
}  // namespace amend
HWY_AFTER_NAMESPACE();

#endif  // the toggle
