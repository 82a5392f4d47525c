#include "core/editing/scoped_factors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/editing/testing/random_model.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using Pairs = std::map<std::pair<int64_t, int64_t>, float>;

Pairs AsMap(const std::vector<FiredEdit>& fired) {
  Pairs pairs;
  for (const FiredEdit& edit : fired) pairs[{edit.token, edit.row}] = edit.activation;
  return pairs;
}

// Random factors; thresholds are such that a token fires few of them.
StackedFactors MakeFactors(int64_t edits, int64_t d_in, uint64_t seed) {
  StackedFactors factors;
  factors.u = RandomTensor({edits, 8}, seed);
  factors.v = RandomTensor({edits, d_in}, seed + 1);
  factors.threshold = at::ones({edits}) * (2.5 * std::sqrt(static_cast<double>(d_in)));
  return factors;
}

// v_b . x in double.
at::Tensor Exact(const StackedFactors& factors, const at::Tensor& input) {
  return at::linear(input.to(at::kDouble), factors.v.to(at::kDouble));
}

// Fired with and without the screen, both against the rule in double; what lies within float32
// rounding of its threshold may go either way.
void ExpectRule(const StackedFactors& factors, const at::Tensor& input) {
  const FactorScreen screen = FactorScreen::Of(factors.v);
  const Pairs screened = AsMap(FindFired(factors, &screen, input));
  const Pairs plain = AsMap(FindFired(factors, nullptr, input));
  const at::Tensor exact = Exact(factors, input);
  const auto c = exact.accessor<double, 2>();
  const auto threshold = factors.threshold.accessor<float, 1>();
  const at::Tensor scale = input.norm(2, {1}, true) * factors.v.norm(2, {1}).unsqueeze(0);
  const auto magnitude = scale.accessor<float, 2>();
  for (int64_t t = 0; t < input.size(0); ++t) {
    for (int64_t b = 0; b < factors.v.size(0); ++b) {
      const double rounding = 1e-6 * magnitude[t][b];
      const double above = c[t][b] - threshold[b];
      for (const Pairs* pairs : {&screened, &plain}) {
        const auto found = pairs->find({t, b});
        if (above > rounding) {
          ASSERT_NE(found, pairs->end()) << t << ", " << b << ": " << above;
        }
        if (above < -rounding) {
          ASSERT_EQ(found, pairs->end()) << t << ", " << b << ": " << above;
        }
        if (found != pairs->end()) {
          ASSERT_NEAR(found->second, c[t][b], rounding);
        }
      }
    }
  }
}

class ScopedFactorsTest : public testing::TestWithParam<int> {};

TEST_P(ScopedFactorsTest, TheScreenFindsWhatTheRuleSays) {
  const uint64_t seed = 8000 + GetParam();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937_64 random(seed);
  const int64_t edits = 1 + static_cast<int64_t>(random() % 300);
  const int64_t d_in = 1 + static_cast<int64_t>(random() % 200);
  const int64_t tokens = 1 + static_cast<int64_t>(random() % 60);
  ExpectRule(MakeFactors(edits, d_in, seed), RandomTensor({tokens, d_in}, seed + 2));
}

// Each edit's threshold lies a hair above or below what one token gives it, or far from it: nearer
// than bfloat16 can tell, farther than float32 rounds.
TEST_P(ScopedFactorsTest, ThresholdsNextToAnActivationAreDecidedExactly) {
  const uint64_t seed = 8100 + GetParam();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937_64 random(seed);
  StackedFactors factors = MakeFactors(256, 96, seed);
  const at::Tensor input = RandomTensor({32, 96}, seed + 2);
  const at::Tensor exact = Exact(factors, input);
  const at::Tensor norms = factors.v.norm(2, {1});
  const auto c = exact.accessor<double, 2>();
  auto threshold = factors.threshold.accessor<float, 1>();
  int above = 0;
  for (int64_t b = 0; b < 256; ++b) {
    const double hair =
        (random() % 2 == 0 ? 1 : -1) * 2e-5 * (1 + static_cast<double>(random() % 90));
    threshold[b] = static_cast<float>(c[static_cast<int64_t>(random() % 32)][b] +
                                      hair * norms.accessor<float, 1>()[b]);
    above += hair < 0 ? 1 : 0;
  }
  ASSERT_GT(above, 0);
  ExpectRule(factors, input);
}

// Entries of very different size, as post-activation inputs have.
TEST_P(ScopedFactorsTest, HeavyTailsAreDecidedExactly) {
  const uint64_t seed = 8200 + GetParam();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  StackedFactors factors = MakeFactors(200, 128, seed);
  factors.v = factors.v.pow(5);
  const at::Tensor input = RandomTensor({40, 128}, seed + 2).pow(5);
  factors.threshold = (input.norm() * factors.v.norm() / 1600).expand({200}).clone();
  ExpectRule(factors, input);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ScopedFactorsTest, testing::Range(0, 20));

TEST(ScopedFactorsBlockTest, ManyTokensAreFoundBlockByBlock) {
  // Several blocks of edits, and of tokens.
  const StackedFactors factors = MakeFactors(6000, 16, 1);
  const at::Tensor input = RandomTensor({3000, 16}, 2);
  const FactorScreen screen = FactorScreen::Of(factors.v);
  const Pairs screened = AsMap(FindFired(factors, &screen, input));
  const Pairs plain = AsMap(FindFired(factors, nullptr, input));
  ASSERT_GT(plain.size(), 1000u);
  EXPECT_NEAR(static_cast<double>(screened.size()), static_cast<double>(plain.size()), 20);
  EXPECT_GT(screened.rbegin()->first.first, 2900);
}

TEST(ScopedFactorsBlockTest, SeveralBlocksComeByTokenThenByRow) {
  const StackedFactors factors = MakeFactors(2100, 64, 8401);
  const FactorScreen screen = FactorScreen::Of(factors.v);
  const std::vector<FiredEdit> fired = FindFired(factors, &screen, RandomTensor({600, 64}, 8402));
  ASSERT_GT(fired.size(), 600u);
  for (size_t i = 1; i < fired.size(); ++i) {
    ASSERT_LT(std::make_pair(fired[i - 1].token, fired[i - 1].row),
              std::make_pair(fired[i].token, fired[i].row));
  }
}

TEST(ScopedFactorsBoundTest, TheScreenErrorIsNeverBelowTheTrueOne) {
  // An odd number of dimensions is not rotated.
  const at::Tensor v = RandomTensor({50, 299}, 1);
  const FactorScreen screen = FactorScreen::Of(v);
  const at::Tensor wide = screen.codes.to(at::kDouble) * screen.scale.unsqueeze(1);
  EXPECT_TRUE((screen.error >= (v.to(at::kDouble) - wide).norm(2, {1})).all().item<bool>());
  EXPECT_TRUE((screen.norm >= wide.norm(2, {1})).all().item<bool>());
}

// One entry of a thirty times the others' size would leave them no bits.
TEST(ScopedFactorsBoundTest, AnEntryThatStandsOutDoesNotSpoilTheScreen) {
  const at::Tensor v = RandomTensor({50, 256}, 1);
  const double plain = FactorScreen::Of(v).error.mean().item<double>();
  at::Tensor outstanding = v.clone();
  outstanding.select(1, 7).mul_(30);
  EXPECT_LT(FactorScreen::Of(outstanding).error.mean().item<double>(), 3 * plain);
}

TEST(ScopedFactorsValueTest, NotANumberNeverFiresAndInfinityDoes) {
  StackedFactors factors = MakeFactors(70, 4, 1);
  factors.v.fill_(1);
  factors.threshold.fill_(1e30f);
  at::Tensor input = at::zeros({2, 4});
  input[0][1] = std::numeric_limits<float>::quiet_NaN();
  input[1][1] = std::numeric_limits<float>::infinity();
  const FactorScreen screen = FactorScreen::Of(factors.v);
  const std::vector<FiredEdit> fired = FindFired(factors, &screen, input);
  ASSERT_EQ(fired.size(), 70u);
  for (const FiredEdit& edit : fired) EXPECT_EQ(edit.token, 1);
}

TEST(ScopedFactorsValueTest, OutputIsThatOfApplyFactors) {
  const StackedFactors factors = MakeFactors(200, 64, 3);
  const at::Tensor input = RandomTensor({40, 64}, 5);
  const at::Tensor output = RandomTensor({40, 8}, 6);
  const at::Tensor before = output.clone();
  const FactorScreen screen = FactorScreen::Of(factors.v);
  const at::Tensor sum = AddFired(FindFired(factors, &screen, input), factors.u, output);
  EXPECT_LT(RelativeDifference(sum, ApplyFactors(factors, input, output).output), 1e-6);
  EXPECT_GT(RelativeDifference(sum, output), 1e-3) << "nothing fired";
  EXPECT_TRUE(output.equal(before));
}

TEST(ScopedFactorsValueTest, WithoutFiringsTheOutputItselfIsReturned) {
  const at::Tensor output = RandomTensor({4, 8}, 6);
  EXPECT_TRUE(AddFired({}, at::zeros({1, 8}), output).is_same(output));
}

TEST(ScopedFactorsValueTest, TheResultHasTheTypeOfTheOutput) {
  const at::Tensor output = RandomTensor({4, 8}, 6).to(at::kBFloat16);
  EXPECT_EQ(AddFired({{0, 0, 1.0f}}, at::ones({1, 8}), output).scalar_type(), at::kBFloat16);
}

}  // namespace
}  // namespace amend
