// Compiled once per instruction set; the one that the machine has is chosen at run time (Highway).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/editing/token_screen.cc"
#include "core/editing/token_screen.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/base/parallel.h"
#include "core/editing/inner_product.h"
#include "core/editing/row_codes.h"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#ifndef AMEND_CORE_EDITING_TOKEN_SCREEN_ONCE
#define AMEND_CORE_EDITING_TOKEN_SCREEN_ONCE
namespace amend {

// Tokens that share one pass over the codes, and edits that one test rules out together.
inline constexpr int64_t kTokensAtOnce = 4;
inline constexpr int64_t kEditsAtOnce = 64;

// One token as the screen sees it.
struct CodedToken {
  const float* values = nullptr;  // [d_in]
  // [d_in], of the rotated values, -127 to 127; in both widths, for one product or the other.
  std::vector<int8_t> codes;
  std::vector<int16_t> wide_codes;
  int32_t code_sum = 0;
  float scale = 1;
  float norm = 0;   // |x|, rounded up
  float error = 0;  // |x - x~|, rounded up
};

struct FactorRows {
  const int8_t* codes;
  const float* v;
  const float* threshold;
  const float* scale;
  const float* error;
  const float* norm;
  int64_t d_in;
  // What sums may be off by, relative to |v| |x|.
  float sums;
};

}  // namespace amend
#endif  // AMEND_CORE_EDITING_TOKEN_SCREEN_ONCE

HWY_BEFORE_NAMESPACE();
namespace amend {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// products[t * kEditsAtOnce + b] = codes of edit b . codes of token t, for N tokens. Sums stay far
// within 32 bits.
template <int N>
void MultiplyCodes(const int8_t* codes, int64_t edits, int64_t d_in, const CodedToken* tokens,
                   int32_t* products) {
  const hn::ScalableTag<int16_t> d16;
  const hn::Rebind<int8_t, decltype(d16)> d8;
  const hn::RepartitionToWide<decltype(d16)> d32;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d16));
  for (int64_t b = 0; b < edits; ++b, codes += d_in) {
    hn::Vec<decltype(d32)> low[N], high[N];
    for (int t = 0; t < N; ++t) low[t] = high[t] = hn::Zero(d32);
    int64_t i = 0;
    for (; i + lanes <= d_in; i += lanes) {
      const auto a = hn::PromoteTo(d16, hn::LoadU(d8, codes + i));
      for (int t = 0; t < N; ++t) {
        const auto x = hn::LoadU(d16, tokens[t].wide_codes.data() + i);
        low[t] = hn::ReorderWidenMulAccumulate(d32, a, x, low[t], high[t]);
      }
    }
    for (int t = 0; t < N; ++t) {
      int32_t product = hn::GetLane(hn::SumOfLanes(d32, hn::Add(low[t], high[t])));
      for (int64_t k = i; k < d_in; ++k) product += int32_t{codes[k]} * tokens[t].wide_codes[k];
      products[t * kEditsAtOnce + b] = product;
    }
  }
}

void MultiplyCodesOfOne(const int8_t* codes, int64_t edits, int64_t d_in, const CodedToken* tokens,
                        int32_t* products) {
  MultiplyCodes<1>(codes, edits, d_in, tokens, products);
}
void MultiplyCodesOfMany(const int8_t* codes, int64_t edits, int64_t d_in, const CodedToken* tokens,
                         int32_t* products) {
  MultiplyCodes<kTokensAtOnce>(codes, edits, d_in, tokens, products);
}

// Of edits [begin, begin + count), what `products` leave open at a token is decided exactly, by
// edit. slopes[k] is what edit begin + k may be off by, relative to |x|.
void FindOpen(const FactorRows& rows, const CodedToken& token, const int32_t* products,
              const float* slopes, int64_t begin, int64_t count, int64_t number,
              std::vector<FiredEdit>* fired) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<int32_t, decltype(d)> d32;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto decide = [&](int64_t k) HWY_ATTR {
    const int64_t b = begin + k;
    const float most = static_cast<float>(products[k]) * (token.scale * rows.scale[b]) +
                       token.norm * slopes[k] + token.error * rows.norm[b];
    // A NaN stays open.
    if (rows.threshold[b] - most > 0) return;
    const float activation = InnerProduct(token.values, rows.v + b * rows.d_in, rows.d_in);
    if (activation >= rows.threshold[b]) fired->push_back({number, b, activation});
  };
  const auto scale = hn::Set(d, token.scale), norm = hn::Set(d, token.norm);
  const auto error = hn::Set(d, token.error);
  int64_t k = 0;
  for (; k + lanes <= count; k += lanes) {
    const auto product = hn::ConvertTo(d, hn::LoadU(d32, products + k));
    const auto factor = hn::Mul(scale, hn::LoadU(d, rows.scale + begin + k));
    const auto most = hn::MulAdd(product, factor,
                                 hn::MulAdd(norm, hn::LoadU(d, slopes + k),
                                            hn::Mul(error, hn::LoadU(d, rows.norm + begin + k))));
    const auto below = hn::Gt(hn::LoadU(d, rows.threshold + begin + k), most);
    if (hn::AllTrue(d, below)) continue;
    for (int64_t i = k; i < k + lanes; ++i) decide(i);
  }
  for (; k < count; ++k) decide(k);
}

}  // namespace HWY_NAMESPACE
}  // namespace amend
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace amend {
namespace {

HWY_EXPORT(MultiplyCodesOfOne);
HWY_EXPORT(MultiplyCodesOfMany);
HWY_EXPORT(FindOpen);

constexpr double kUnitRoundoff = 1.0 / (1 << 24);
// Codes that one thread reads at least: below, waking it costs more than it brings.
constexpr int64_t kCodesOfAThread = 1 << 19;

#ifdef __x86_64__
bool HasByteProducts() {
  static const bool has =
      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw");
  return has;
}

// MultiplyCodes with the instruction for 8-bit numbers, which Highway does not know. It takes the
// first factor without sign: 128 more, for which 128 times the sum of the other one goes off.
template <int N>
__attribute__((target("avx512f,avx512bw,avx512vnni"))) void MultiplyBytes(
    const int8_t* codes, int64_t edits, int64_t d_in, const CodedToken* tokens, int32_t* products) {
  const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
  for (int64_t b = 0; b < edits; ++b, codes += d_in) {
    __m512i even[N], odd[N];
    for (int t = 0; t < N; ++t) even[t] = odd[t] = _mm512_setzero_si512();
    int64_t i = 0;
    for (; i + 128 <= d_in; i += 128) {
      const __m512i first = _mm512_xor_si512(_mm512_loadu_si512(codes + i), sign);
      const __m512i second = _mm512_xor_si512(_mm512_loadu_si512(codes + i + 64), sign);
      for (int t = 0; t < N; ++t) {
        const int8_t* x = tokens[t].codes.data() + i;
        even[t] = _mm512_dpbusd_epi32(even[t], first, _mm512_loadu_si512(x));
        odd[t] = _mm512_dpbusd_epi32(odd[t], second, _mm512_loadu_si512(x + 64));
      }
    }
    for (int t = 0; t < N; ++t) {
      int32_t product = _mm512_reduce_add_epi32(_mm512_add_epi32(even[t], odd[t]));
      for (int64_t k = i; k < d_in; ++k) product += (codes[k] + 128) * tokens[t].codes[k];
      products[t * kEditsAtOnce + b] = product - 128 * tokens[t].code_sum;
    }
  }
}
#endif

// For `count` tokens: kTokensAtOnce at most.
void Multiply(const int8_t* codes, int64_t edits, int64_t d_in, const CodedToken* tokens,
              int64_t count, int32_t* products) {
  const bool many = count == kTokensAtOnce;
#ifdef __x86_64__
  if (HasByteProducts()) {
    if (many) return MultiplyBytes<kTokensAtOnce>(codes, edits, d_in, tokens, products);
    for (int64_t t = 0; t < count; ++t) {
      MultiplyBytes<1>(codes, edits, d_in, tokens + t, products + t * kEditsAtOnce);
    }
    return;
  }
#endif
  if (many) {
    return HWY_DYNAMIC_DISPATCH(MultiplyCodesOfMany)(codes, edits, d_in, tokens, products);
  }
  for (int64_t t = 0; t < count; ++t) {
    HWY_DYNAMIC_DISPATCH(MultiplyCodesOfOne)
    (codes, edits, d_in, tokens + t, products + t * kEditsAtOnce);
  }
}

// Edits [begin, end) at all tokens; each token's go to a list of its own, by edit.
void FindInShare(const FactorRows& rows, const std::vector<CodedToken>& tokens, int64_t begin,
                 int64_t end, std::vector<FiredEdit>* fired) {
  const auto count = static_cast<int64_t>(tokens.size());
  int32_t products[kTokensAtOnce * kEditsAtOnce];
  float slopes[kEditsAtOnce];
  for (int64_t first = begin; first < end; first += kEditsAtOnce) {
    const int64_t edits = std::min(kEditsAtOnce, end - first);
    // As in scoped_factors.cc.
    for (int64_t k = 0; k < edits; ++k) {
      slopes[k] = rows.error[first + k] * (1 + rows.sums) + rows.norm[first + k] * rows.sums;
    }
    for (int64_t t = 0; t < count; t += kTokensAtOnce) {
      const int64_t some = std::min(kTokensAtOnce, count - t);
      Multiply(rows.codes + first * rows.d_in, edits, rows.d_in, &tokens[t], some, products);
      for (int64_t i = 0; i < some; ++i) {
        HWY_DYNAMIC_DISPATCH(FindOpen)
        (rows, tokens[t + i], products + i * kEditsAtOnce, slopes, first, edits, t + i,
         &fired[t + i]);
      }
    }
  }
}

CodedToken Code(const float* values, int64_t d_in) {
  CodedToken token;
  token.values = values;
  token.codes.resize(d_in);
  const RowCode code = CodeRow(values, d_in, token.codes.data());
  token.scale = code.scale;
  token.norm = code.norm;
  token.error = code.error;
  token.wide_codes.assign(token.codes.begin(), token.codes.end());
  for (const int16_t wide : token.wide_codes) token.code_sum += wide;
  return token;
}

}  // namespace

std::vector<FiredEdit> FindFiredAtTokens(const StackedFactors& factors, const FactorScreen& screen,
                                         const at::Tensor& input) {
  if (factors.empty()) return {};
  const at::Tensor x = input.detach().to(at::kFloat).contiguous();
  const int64_t d_in = x.size(1);
  const int64_t edits = factors.v.size(0);
  const int64_t count = x.size(0);
  const auto sums = static_cast<float>(static_cast<double>(d_in + 2 * 8 * kMaxRotated + 64) *
                                       kUnitRoundoff * kNormSlack);
  const FactorRows rows{screen.codes.const_data_ptr<int8_t>(),
                        factors.v.const_data_ptr<float>(),
                        factors.threshold.const_data_ptr<float>(),
                        screen.scale.const_data_ptr<float>(),
                        screen.error.const_data_ptr<float>(),
                        screen.norm.const_data_ptr<float>(),
                        d_in,
                        sums};
  std::vector<CodedToken> tokens;
  for (int64_t t = 0; t < count; ++t) {
    tokens.push_back(Code(x.const_data_ptr<float>() + t * d_in, d_in));
  }
  const int64_t share = std::max<int64_t>(1, kCodesOfAThread / d_in);
  const int64_t shares = (edits + share - 1) / share;
  // By share, then by token.
  std::vector<std::vector<FiredEdit>> found(shares * count);
  ParallelFor(0, shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      FindInShare(rows, tokens, i * share, std::min(edits, (i + 1) * share), &found[i * count]);
    }
  });
  std::vector<FiredEdit> fired;
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t i = 0; i < shares; ++i) {
      const std::vector<FiredEdit>& some = found[i * count + t];
      fired.insert(fired.end(), some.begin(), some.end());
    }
  }
  return fired;
}

}  // namespace amend
#endif  // HWY_ONCE
