// Compiled once per instruction set; the one that the machine has is chosen at run time (Highway).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/editing/inner_product.cc"
#include "core/editing/inner_product.h"

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace amend {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

float Sum(const float* a, const float* b, int64_t count) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
    s1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), s1);
    s2 = hn::MulAdd(hn::LoadU(d, a + i + 2 * lanes), hn::LoadU(d, b + i + 2 * lanes), s2);
    s3 = hn::MulAdd(hn::LoadU(d, a + i + 3 * lanes), hn::LoadU(d, b + i + 3 * lanes), s3);
  }
  float result = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < count; ++i) result += a[i] * b[i];
  return result;
}

}  // namespace HWY_NAMESPACE
}  // namespace amend
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace amend {

HWY_EXPORT(Sum);

float InnerProduct(const float* a, const float* b, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(Sum)(a, b, count);
}

}  // namespace amend
#endif  // HWY_ONCE
