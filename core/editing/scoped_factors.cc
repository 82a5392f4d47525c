#include "core/editing/scoped_factors.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/nonzero.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace amend {
namespace {

// Bytes of the coarse products that exist at one time.
constexpr int64_t kCoarseBytes = int64_t{32} << 20;
// Norms are computed in float32: rounded up by more than that can be wrong.
constexpr double kNormSlack = 1 + 1e-4;
// Edits that one test rules out together.
constexpr int64_t kLanes = 64;
constexpr float kUnitRoundoff = 1.0f / (1 << 24);

at::Tensor RowNorms(const at::Tensor& rows) {
  return at::linalg_vector_norm(rows, 2, {1}) * kNormSlack;
}

float FromBFloat16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

// In float32, sixteen partial sums.
float Dot(const float* a, const float* b, int64_t n) {
  float sums[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int lane = 0; lane < 16; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < n; ++i) sums[i % 16] += a[i] * b[i];
  for (int width = 8; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  }
  return sums[0];
}

// What is read of the factors while one token is screened.
struct Columns {
  const float* threshold;
  const float* slope;  // allowance per |x|: what is off in v, and in both sums
  const float* norm;   // allowance per |x - x~|
  int64_t count;
};

// Whether the coarse product leaves open that the edit fires. Half a unit in the last place of a
// bfloat16 is 2^-9 of it. False only when it surely does not: a NaN stays open.
inline bool Open(float coarse, float allowance, float threshold) {
  const float magnitude = coarse < 0 ? -coarse : coarse;
  return !(coarse + magnitude * (1.0f / 256) + allowance < threshold);
}

// Appends to `open` the edits that one token's coarse products [r] leave open.
void Screen(const uint16_t* coarse, const Columns& columns, float norm, float rounding,
            std::vector<int32_t>* open) {
  int64_t b = 0;
  for (; b + kLanes <= columns.count; b += kLanes) {
    int32_t any = 0;
    for (int64_t k = 0; k < kLanes; ++k) {
      const float allowance = norm * columns.slope[b + k] + rounding * columns.norm[b + k];
      any |= Open(FromBFloat16(coarse[b + k]), allowance, columns.threshold[b + k]) ? 1 : 0;
    }
    if (any == 0) continue;
    for (int64_t k = 0; k < kLanes; ++k) {
      const float allowance = norm * columns.slope[b + k] + rounding * columns.norm[b + k];
      if (Open(FromBFloat16(coarse[b + k]), allowance, columns.threshold[b + k]))
        open->push_back(static_cast<int32_t>(b + k));
    }
  }
  for (; b < columns.count; ++b) {
    const float allowance = norm * columns.slope[b] + rounding * columns.norm[b];
    if (Open(FromBFloat16(coarse[b]), allowance, columns.threshold[b]))
      open->push_back(static_cast<int32_t>(b));
  }
}

// The exact rule for the edits that the screen leaves open at the tokens of one block.
void FindInBlock(const StackedFactors& factors, const FactorScreen& screen, const at::Tensor& slope,
                 const at::Tensor& input, int64_t first_token, std::vector<FiredEdit>* fired) {
  const int64_t tokens = input.size(0);
  const int64_t d_in = input.size(1);
  const at::Tensor rounded = input.to(at::kBFloat16);
  const at::Tensor coarse = at::linear(rounded, screen.coarse);
  const at::Tensor norms = RowNorms(input);
  const at::Tensor roundings = RowNorms(input - rounded.to(at::kFloat));
  const auto* products = static_cast<const uint16_t*>(coarse.const_data_ptr());
  const float* x = input.const_data_ptr<float>();
  const float* v = factors.v.const_data_ptr<float>();
  const Columns columns{factors.threshold.const_data_ptr<float>(), slope.const_data_ptr<float>(),
                        screen.norm.const_data_ptr<float>(), factors.v.size(0)};
  const float* norm = norms.const_data_ptr<float>();
  const float* rounding = roundings.const_data_ptr<float>();
  std::vector<std::vector<FiredEdit>> found(static_cast<size_t>(tokens));
  at::parallel_for(0, tokens, 8, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> open;
    for (int64_t t = begin; t < end; ++t) {
      open.clear();
      Screen(products + t * columns.count, columns, norm[t], rounding[t], &open);
      for (const int32_t b : open) {
        const float activation = Dot(x + t * d_in, v + b * d_in, d_in);
        if (activation >= columns.threshold[b])
          found[static_cast<size_t>(t)].push_back({first_token + t, b, activation});
      }
    }
  });
  for (const std::vector<FiredEdit>& some : found)
    fired->insert(fired->end(), some.begin(), some.end());
}

std::vector<FiredEdit> FindPlainly(const StackedFactors& factors, const at::Tensor& input) {
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
  FactorScreen screen;
  screen.coarse = v.to(at::kBFloat16);
  const at::Tensor wide = screen.coarse.to(at::kFloat);
  screen.error = RowNorms(v - wide);
  screen.norm = RowNorms(wide);
  return screen;
}

std::vector<FiredEdit> FindFired(const StackedFactors& factors, const FactorScreen* screen,
                                 const at::Tensor& input) {
  const at::NoGradGuard no_grad;
  if (factors.empty()) return {};
  const at::Tensor x = input.to(at::kFloat).contiguous();
  if (screen == nullptr) return FindPlainly(factors, x);
  // A float32 sum of d_in products is off by at most d_in units of roundoff: once in the coarse
  // product, once in the exact one.
  const double sums = 2.0 * static_cast<double>(x.size(1) + 16) * kUnitRoundoff * kNormSlack;
  const at::Tensor slope = screen->error * (1 + sums) + screen->norm * sums;
  const int64_t block = std::max<int64_t>(1, kCoarseBytes / (2 * factors.v.size(0)));
  std::vector<FiredEdit> fired;
  for (int64_t begin = 0; begin < x.size(0); begin += block) {
    const int64_t tokens = std::min(block, x.size(0) - begin);
    FindInBlock(factors, *screen, slope, x.narrow(0, begin, tokens), begin, &fired);
  }
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
  for (const FiredEdit& edit : fired) {
    float* row = to + edit.token * d_out;
    const float* add = from + edit.row * d_out;
    for (int64_t i = 0; i < d_out; ++i) row[i] += edit.activation * add[i];
  }
  return sum.to(output.scalar_type());
}

}  // namespace amend
