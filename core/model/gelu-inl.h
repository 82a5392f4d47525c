// The GELU of one vector, for the kernels that apply it. Included once per instruction set
// (Highway), inside and outside of its toggle.
#if defined(AMEND_CORE_MODEL_GELU_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef AMEND_CORE_MODEL_GELU_INL_H_
#undef AMEND_CORE_MODEL_GELU_INL_H_
#else
#define AMEND_CORE_MODEL_GELU_INL_H_
#endif

// In this order.
// clang-format off
#include "hwy/highway.h"
#include "hwy/contrib/math/math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace amend {
namespace HWY_NAMESPACE {

// y = x s with s = 1 / (1 + exp(-2 u)), u = c (x + a x^3): the same as x (1 + tanh(u)) / 2. Also
// the slope dy/dx.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE void GeluAndSlope(D d, V x, V* value, V* slope) {
  namespace hn = hwy::HWY_NAMESPACE;
  const V one = hn::Set(d, 1.0f);
  const V c = hn::Set(d, 0.7978845608028654f);                    // sqrt(2 / pi)
  const V cubic = hn::Mul(hn::Set(d, 0.044715f), hn::Mul(x, x));  // a x^2
  const V twice = hn::Mul(hn::Set(d, 2.0f), hn::Mul(c, hn::MulAdd(cubic, x, x)));
  // exp(88) is still finite.
  const V power = hn::Exp(d, hn::Min(hn::Neg(twice), hn::Set(d, 88.0f)));
  const V s = hn::Div(one, hn::Add(one, power));
  *value = hn::Mul(x, s);
  // 2 du/dx = 2 c (1 + 3 a x^2)
  const V rise = hn::Mul(hn::Set(d, 2.0f), hn::Mul(c, hn::MulAdd(hn::Set(d, 3.0f), cubic, one)));
  *slope = hn::MulAdd(hn::Mul(*value, hn::Sub(one, s)), rise, s);
}

}  // namespace HWY_NAMESPACE
}  // namespace amend
HWY_AFTER_NAMESPACE();

#endif  // the toggle
