// The GELUs of one vector, for the kernels that apply it. Included once per instruction set
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

// y = x (1 + erf(x / sqrt 2)) / 2. With q = 1 - erf |x / sqrt 2| that is max(x, 0) - |x| q / 2,
// which loses nothing for a large negative x. q by Abramowitz and Stegun 7.1.26, within 1.5e-7.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V GeluErf(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const V one = hn::Set(d, 1.0f);
  const V size = hn::Abs(x);
  const V z = hn::Mul(size, hn::Set(d, 0.70710678118654752f));
  const V t = hn::Div(one, hn::MulAdd(hn::Set(d, 0.3275911f), z, one));
  V sum = hn::MulAdd(hn::Set(d, 1.061405429f), t, hn::Set(d, -1.453152027f));
  sum = hn::MulAdd(sum, t, hn::Set(d, 1.421413741f));
  sum = hn::MulAdd(sum, t, hn::Set(d, -0.284496736f));
  sum = hn::MulAdd(sum, t, hn::Set(d, 0.254829592f));
  // exp takes numbers down to any depth; z z may be infinite.
  const V q = hn::Mul(hn::Mul(sum, t), hn::Exp(d, hn::Neg(hn::Mul(z, z))));
  // 1e4: where q is 0, and |x| times it must be, also for an infinite x.
  const V tail = hn::Mul(hn::Mul(hn::Set(d, 0.5f), hn::Min(size, hn::Set(d, 1e4f))), q);
  return hn::Sub(hn::Max(x, hn::Zero(d)), tail);
}

}  // namespace HWY_NAMESPACE
}  // namespace amend
HWY_AFTER_NAMESPACE();

#endif  // the toggle
