#include "core/editing/token_screen.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <utility>

#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::SizeIs;

std::map<std::pair<int64_t, int64_t>, float> AsMap(const std::vector<FiredEdit>& fired) {
  std::map<std::pair<int64_t, int64_t>, float> pairs;
  for (const FiredEdit& edit : fired) pairs[{edit.token, edit.row}] = edit.activation;
  return pairs;
}

// Against the rule in double: what lies within float32 rounding of its threshold may go either way.
void ExpectRule(const StackedFactors& factors, const at::Tensor& input) {
  const std::vector<FiredEdit> fired =
      FindFiredAtTokens(factors, FactorScreen::Of(factors.v), input);
  for (size_t i = 1; i < fired.size(); ++i) {
    ASSERT_LT(std::make_pair(fired[i - 1].token, fired[i - 1].row),
              std::make_pair(fired[i].token, fired[i].row));
  }
  auto pairs = AsMap(fired);
  const at::Tensor exact = at::linear(input.to(at::kDouble), factors.v.to(at::kDouble));
  const at::Tensor scale = input.norm(2, {1}, true) * factors.v.norm(2, {1}).unsqueeze(0);
  for (int64_t t = 0; t < input.size(0); ++t) {
    for (int64_t b = 0; b < factors.v.size(0); ++b) {
      const double rounding = 1e-6 * scale[t][b].item<double>();
      const double above = exact[t][b].item<double>() - factors.threshold[b].item<double>();
      const auto found = pairs.find({t, b});
      if (above > rounding) {
        ASSERT_NE(found, pairs.end()) << t << ", " << b << ": " << above;
      }
      if (above < -rounding) {
        ASSERT_EQ(found, pairs.end()) << t << ", " << b << ": " << above;
      }
      if (found != pairs.end()) {
        ASSERT_NEAR(found->second, exact[t][b].item<double>(), rounding);
      }
    }
  }
}

StackedFactors MakeFactors(int64_t edits, int64_t d_in, uint64_t seed) {
  StackedFactors factors;
  factors.u = RandomTensor({edits, 8}, seed);
  factors.v = RandomTensor({edits, d_in}, seed + 1);
  factors.threshold = RandomTensor({edits}, seed + 2).abs() * std::sqrt(static_cast<double>(d_in));
  return factors;
}

TEST(TokenScreenTest, RandomFactorsAndTokensAreDecidedByTheRule) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 20; ++i) {
    const auto edits = 1 + static_cast<int64_t>(random() % 150);
    const auto d_in = kMinTokenScreen + static_cast<int64_t>(random() % 300);
    const auto tokens = 1 + static_cast<int64_t>(random() % 11);
    ExpectRule(MakeFactors(edits, d_in, random()), RandomTensor({tokens, d_in}, random()));
  }
}

// A hair above or below what a token gives: nearer than 8 bits can tell.
TEST(TokenScreenTest, ThresholdsNextToAnActivationAreDecidedExactly) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  StackedFactors factors = MakeFactors(200, 256, seed);
  const at::Tensor input = RandomTensor({2, 256}, seed + 3);
  const at::Tensor exact = at::linear(input.to(at::kDouble), factors.v.to(at::kDouble));
  const at::Tensor norms = factors.v.norm(2, {1});
  for (int64_t b = 0; b < 200; ++b) {
    const double hair =
        (random() % 2 == 0 ? 1 : -1) * 2e-5 * (1 + static_cast<double>(random() % 90));
    factors.threshold[b].fill_(exact[b % 2][b].item<double>() + hair * norms[b].item<double>());
  }
  ExpectRule(factors, input);
}

// The worst that rounding can do: all that is off in one factor adds up, the other one is exact. An
// odd d_in, so that nothing is rotated.
TEST(TokenScreenTest, RoundingThatAllAddsUpIsAllowedFor) {
  const auto rounded = [](const at::Tensor& row) {
    const at::Tensor scale = row.abs().max() / 127;
    return (row / scale).round() * scale;
  };
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const at::Tensor random = RandomTensor({1, 33}, seed);
    const at::Tensor signs = (random - rounded(random)).sign();
    for (const bool off_in_factor : {true, false}) {
      StackedFactors factors;
      factors.u = RandomTensor({64, 8}, seed);
      factors.v = (off_in_factor ? random : signs).repeat({64, 1});
      const at::Tensor input = off_in_factor ? signs : random;
      const at::Tensor activation = at::linear(input, factors.v)[0];
      factors.threshold = activation - 1e-3 * activation.abs();
      EXPECT_THAT(FindFiredAtTokens(factors, FactorScreen::Of(factors.v), input), SizeIs(64))
          << "seed " << seed << ", off in the factor: " << off_in_factor;
    }
  }
}

TEST(TokenScreenTest, LongLinesAreWholeAtAnyNumberOfShares) {
  const StackedFactors factors = MakeFactors(1500, 1024, 5);
  const at::Tensor input = RandomTensor({3, 1024}, 6);
  const FactorScreen screen = FactorScreen::Of(factors.v);
  EXPECT_EQ(AsMap(FindFiredAtTokens(factors, screen, input)).size(),
            AsMap(FindFired(factors, &screen, input)).size());
}

TEST(TokenScreenTest, ATokenOfZerosFiresWhereZeroReachesTheThreshold) {
  StackedFactors factors = MakeFactors(3, 32, 7);
  factors.threshold[1].fill_(-1);
  EXPECT_THAT(FindFiredAtTokens(factors, FactorScreen::Of(factors.v), at::zeros({1, 32})),
              SizeIs(1));
}

TEST(TokenScreenTest, ATokenThatIsNotFiniteFiresAsWithoutAScreen) {
  const StackedFactors factors = MakeFactors(100, 64, 8);
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    at::Tensor input = RandomTensor({1, 64}, 9);
    input[0][3].fill_(value);
    EXPECT_EQ(FindFiredAtTokens(factors, FactorScreen::Of(factors.v), input).size(),
              FindFired(factors, nullptr, input).size());
  }
}

}  // namespace
}  // namespace amend
