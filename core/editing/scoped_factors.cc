#include "core/editing/scoped_factors.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_int_mm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/nonzero.h>

#include <algorithm>
#include <cmath>

#include "core/base/parallel.h"
#include "core/editing/inner_product.h"
#include "core/editing/row_codes.h"

// Compiled once more for wider registers; the widest that the machine has is called.
#ifdef __x86_64__
#define AMEND_FOR_EACH_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define AMEND_FOR_EACH_CPU
#endif

namespace amend {
namespace {

// Edits and tokens whose coarse products exist at one time, on each thread: 1 MiB that stays in the
// core's cache. The products of whole lines would go out to memory and back.
constexpr int64_t kEditsAtOnce = 1024;
constexpr int64_t kTokensAtOnce = 256;
// Edits that one test rules out together.
constexpr int64_t kLanes = 64;
constexpr double kUnitRoundoff = 1.0 / (1 << 24);
// Multiplications up to which all of them cost less than the tensor operations that spare most.
constexpr int64_t kFewProducts = 1 << 19;
// Rows that one thread codes at least.
constexpr int64_t kCodedRows = 64;
// Shorter rows are not worth it, and LibTorch's integer product of rows of 1 is wrong.
constexpr int64_t kMinScreened = 16;

// row += scale * add
AMEND_FOR_EACH_CPU void AddScaled(const float* add, float scale, int64_t n, float* row) {
  for (int64_t i = 0; i < n; ++i) row[i] += scale * add[i];
}

// Codes of `rows` [n, d], float32, contiguous, to `codes` [n, d]; take(i, code) gets what else
// there is of each row.
template <typename Take>
void CodeRows(const at::Tensor& rows, int8_t* codes, const Take& take) {
  const float* from = rows.const_data_ptr<float>();
  const int64_t d = rows.size(1);
  ParallelFor(0, rows.size(0), kCodedRows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) take(i, CodeRow(from + i * d, d, codes + i * d));
  });
}

// What is read of the factors while one token is screened.
struct Columns {
  const float* threshold;
  const float* scale;
  const float* slope;  // allowance per |x|: what is off in v, and in the sums
  const float* norm;   // allowance per |x - x~|
  int64_t count;
};

// What is read of the token.
struct ScreenedToken {
  const int32_t* product;  // [r]: of the codes
  float scale;
  float norm;   // |x|
  float error;  // |x - x~|
};

// Appends to `open` the edits that the token's coarse products leave open: all but those that
// surely do not fire. A NaN stays open.
AMEND_FOR_EACH_CPU void Screen(const Columns& columns, const ScreenedToken& token,
                               std::vector<int32_t>* open) {
  for (int64_t begin = 0; begin < columns.count; begin += kLanes) {
    const int64_t lanes = std::min(kLanes, columns.count - begin);
    const int32_t* product = token.product + begin;
    const float* threshold = columns.threshold + begin;
    const float* scale = columns.scale + begin;
    const float* slope = columns.slope + begin;
    const float* norm = columns.norm + begin;
    const float token_scale = token.scale, token_norm = token.norm, token_error = token.error;
    // How far below its threshold each one is at least.
    float margin[kLanes];
    for (int64_t k = 0; k < lanes; ++k) {
      margin[k] = threshold[k] - (static_cast<float>(product[k]) * (token_scale * scale[k]) +
                                  token_norm * slope[k] + token_error * norm[k]);
    }
    int32_t any = 0;
    for (int64_t k = 0; k < lanes; ++k) any |= margin[k] > 0 ? 0 : 1;
    if (any == 0) continue;
    for (int64_t k = 0; k < lanes; ++k) {
      if (!(margin[k] > 0)) open->push_back(static_cast<int32_t>(begin + k));
    }
  }
}

// The tokens of one call. Letters: x one of them, x~ what its codes stand for.
struct ScreenedInput {
  explicit ScreenedInput(const at::Tensor& rows)
      : rows(rows),
        codes(at::empty(rows.sizes(), at::kChar)),
        coded(static_cast<size_t>(rows.size(0))) {
    CodeRows(rows, codes.mutable_data_ptr<int8_t>(),
             [this](int64_t t, const RowCode& code) { coded[static_cast<size_t>(t)] = code; });
  }

  at::Tensor rows;   // [T, d_in], float32, contiguous
  at::Tensor codes;  // [T, d_in], int8
  std::vector<RowCode> coded;
};

// An edit that the screen leaves open at a token.
struct OpenPair {
  int32_t edit = 0;  // of the block
  int32_t token = 0;
};

// What the screen leaves open in a block of edits, by edit, then token: so each row of V is read
// once, however many tokens it may fire at.
std::vector<OpenPair> FindOpen(const FactorScreen& screen, const at::Tensor& threshold,
                               const at::Tensor& slope, const ScreenedInput& input) {
  const int64_t edits = screen.codes.size(0);
  const int64_t tokens = input.rows.size(0);
  const Columns columns{threshold.const_data_ptr<float>(), screen.scale.const_data_ptr<float>(),
                        slope.const_data_ptr<float>(), screen.norm.const_data_ptr<float>(), edits};
  std::vector<OpenPair> open;
  std::vector<int32_t> of_token;
  at::Tensor products = at::empty({std::min(tokens, kTokensAtOnce), edits}, at::kInt);
  for (int64_t begin = 0; begin < tokens; begin += kTokensAtOnce) {
    const int64_t count = std::min(kTokensAtOnce, tokens - begin);
    if (count < products.size(0)) products = products.narrow(0, 0, count);
    at::_int_mm_out(products, input.codes.narrow(0, begin, count), screen.codes.t());
    const int32_t* product = products.const_data_ptr<int32_t>();
    for (int64_t t = begin; t < begin + count; ++t, product += edits) {
      of_token.clear();
      const RowCode& coded = input.coded[static_cast<size_t>(t)];
      Screen(columns, {product, coded.scale, coded.norm, coded.error}, &of_token);
      for (const int32_t b : of_token) open.push_back({b, static_cast<int32_t>(t)});
    }
  }
  std::stable_sort(open.begin(), open.end(),
                   [](const OpenPair& a, const OpenPair& b) { return a.edit < b.edit; });
  return open;
}

// The exact rule for what the screen leaves open among edits [begin, end). By edit, then token.
std::vector<FiredEdit> FindInBlock(const StackedFactors& factors, const FactorScreen& screen,
                                   const at::Tensor& slope, const ScreenedInput& input,
                                   int64_t begin, int64_t end) {
  const int64_t count = end - begin;
  const int64_t d_in = input.rows.size(1);
  const float* x = input.rows.const_data_ptr<float>();
  const float* v = factors.v.const_data_ptr<float>();
  const float* threshold = factors.threshold.const_data_ptr<float>();
  std::vector<FiredEdit> fired;
  for (const auto& [edit, token] :
       FindOpen(screen.Rows(begin, count), factors.threshold.narrow(0, begin, count),
                slope.narrow(0, begin, count), input)) {
    const int64_t b = begin + edit;
    const float activation = InnerProduct(x + token * d_in, v + b * d_in, d_in);
    if (activation >= threshold[b]) fired.push_back({token, b, activation});
  }
  return fired;
}

// Pairs of an edit and a token that may fire, by token, then by edit: all for which two float32
// sums of v_b . x in any order may differ by as much as the first one is below the threshold.
at::Tensor OpenPairs(const StackedFactors& factors, const at::Tensor& x) {
  const at::Tensor off =
      at::linear(x.norm(2, {1}).unsqueeze(1), factors.v.norm(2, {1}).unsqueeze(1));
  const double roundoff = 2 * static_cast<double>(x.size(1)) * kUnitRoundoff * kNormSlack;
  // A NaN stays open.
  return (at::linear(x, factors.v) + off * roundoff < factors.threshold).logical_not().nonzero();
}

std::vector<FiredEdit> FindPlainly(const StackedFactors& factors, const at::Tensor& input) {
  const int64_t tokens = input.size(0), edits = factors.v.size(0), d_in = input.size(1);
  const float* const x = input.const_data_ptr<float>();
  const float* const v = factors.v.const_data_ptr<float>();
  const float* const threshold = factors.threshold.const_data_ptr<float>();
  std::vector<FiredEdit> fired;
  const auto decide = [&](int64_t token, int64_t edit) {
    const float activation = InnerProduct(x + token * d_in, v + edit * d_in, d_in);
    if (activation >= threshold[edit]) fired.push_back({token, edit, activation});
  };
  if (tokens * edits * d_in <= kFewProducts) {
    for (int64_t token = 0; token < tokens; ++token) {
      for (int64_t edit = 0; edit < edits; ++edit) decide(token, edit);
    }
    return fired;
  }
  const at::Tensor open = OpenPairs(factors, input);
  const auto pairs = open.accessor<int64_t, 2>();
  for (int64_t i = 0; i < open.size(0); ++i) decide(pairs[i][0], pairs[i][1]);
  return fired;
}

std::vector<FiredEdit> FindOnDevice(const StackedFactors& factors, const at::Tensor& input) {
  const at::Tensor activation = at::linear(input, factors.v);
  const at::Tensor where = (activation >= factors.threshold).nonzero().to(at::kCPU);
  const at::Tensor values = activation.to(at::kCPU);
  const auto places = where.accessor<int64_t, 2>();
  const auto value = values.accessor<float, 2>();
  std::vector<FiredEdit> fired;
  fired.reserve(static_cast<size_t>(where.size(0)));
  for (int64_t i = 0; i < where.size(0); ++i)
    fired.push_back({places[i][0], places[i][1], value[places[i][0]][places[i][1]]});
  return fired;
}

}  // namespace

FactorScreen FactorScreen::Of(const at::Tensor& v) {
  const int64_t rows = v.size(0);
  FactorScreen screen{at::empty(v.sizes(), at::kChar), at::empty({rows}), at::empty({rows}),
                      at::empty({rows})};
  screen.Set(v);
  return screen;
}

void FactorScreen::Set(const at::Tensor& v) const {
  const at::Tensor rows = v.contiguous();
  float* const scales = scale.mutable_data_ptr<float>();
  float* const errors = error.mutable_data_ptr<float>();
  float* const norms = norm.mutable_data_ptr<float>();
  CodeRows(rows, codes.mutable_data_ptr<int8_t>(), [&](int64_t i, const RowCode& code) {
    scales[i] = code.scale;
    errors[i] = code.error;
    norms[i] = code.coded_norm;
  });
}

FactorScreen FactorScreen::Rows(int64_t begin, int64_t rows) const {
  return {codes.narrow(0, begin, rows), scale.narrow(0, begin, rows), error.narrow(0, begin, rows),
          norm.narrow(0, begin, rows)};
}

std::vector<FiredEdit> FindFired(const StackedFactors& factors, const FactorScreen* screen,
                                 const at::Tensor& input) {
  const at::NoGradGuard no_grad;
  if (factors.empty()) return {};
  const at::Tensor x = input.to(at::kFloat).contiguous();
  if (!x.is_cpu()) return FindOnDevice(factors, x);
  if (screen == nullptr || x.size(1) < kMinScreened) return FindPlainly(factors, x);
  // A float32 sum of n products is off by at most n units of roundoff: d_in in the exact product;
  // and in each rotation 8 * 64, as 64 sums of 64 products share a norm.
  const double sums =
      static_cast<double>(x.size(1) + 2 * 8 * kMaxRotated + 64) * kUnitRoundoff * kNormSlack;
  const at::Tensor slope = screen->error * (1 + sums) + screen->norm * sums;
  const ScreenedInput screened(x);
  const int64_t edits = factors.v.size(0);
  const int64_t blocks = (edits + kEditsAtOnce - 1) / kEditsAtOnce;
  std::vector<std::vector<FiredEdit>> found(static_cast<size_t>(blocks));
  ParallelFor(0, blocks, 1, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad_here;
    for (int64_t i = begin; i < end; ++i) {
      found[static_cast<size_t>(i)] =
          FindInBlock(factors, *screen, slope, screened, i * kEditsAtOnce,
                      std::min((i + 1) * kEditsAtOnce, edits));
    }
  });
  std::vector<FiredEdit> fired;
  for (const std::vector<FiredEdit>& some : found)
    fired.insert(fired.end(), some.begin(), some.end());
  // Within a token they are in the order of their rows already.
  std::stable_sort(fired.begin(), fired.end(),
                   [](const FiredEdit& a, const FiredEdit& b) { return a.token < b.token; });
  return fired;
}

at::Tensor AddFired(const std::vector<FiredEdit>& fired, const at::Tensor& u,
                    const at::Tensor& output) {
  if (fired.empty()) return output;
  const at::NoGradGuard no_grad;
  const at::Tensor sum = output.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
  float* to = sum.mutable_data_ptr<float>();
  const at::Tensor factors = u.contiguous();
  const float* from = factors.const_data_ptr<float>();
  const int64_t d_out = u.size(1);
  // Ranges of tokens, each whole.
  std::vector<size_t> starts;
  for (size_t i = 0; i < fired.size(); ++i) {
    if (i == 0 || fired[i].token != fired[i - 1].token) starts.push_back(i);
  }
  starts.push_back(fired.size());
  ParallelFor(0, static_cast<int64_t>(starts.size()) - 1, 64, [&](int64_t begin, int64_t end) {
    for (size_t f = starts[begin]; f < starts[end]; ++f) {
      AddScaled(from + fired[f].row * d_out, fired[f].activation, d_out,
                to + fired[f].token * d_out);
    }
  });
  return sum.to(output.scalar_type());
}

}  // namespace amend
