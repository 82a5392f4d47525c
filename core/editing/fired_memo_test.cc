#include "core/editing/fired_memo.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>

#include <cmath>
#include <random>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/editing/testing/random_model.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr int64_t kDimensions = 96;
constexpr int64_t kPlenty = 1000;

// Factors of a line of `edits`; their first rows are those of a shorter one.
struct Line {
  explicit Line(int64_t edits) {
    factors.u = RandomTensor({edits, 8}, 1);
    factors.v = RandomTensor({edits, kDimensions}, 2);
    factors.threshold = at::ones({edits}) * (1.5 * std::sqrt(static_cast<double>(kDimensions)));
    screen = FactorScreen::Of(factors.v);
  }
  StackedFactors First(int64_t rows) const {
    return {factors.u.narrow(0, 0, rows), factors.v.narrow(0, 0, rows),
            factors.threshold.narrow(0, 0, rows)};
  }
  FactorScreen FirstOfScreen(int64_t rows) const { return screen.Rows(0, rows); }

  StackedFactors factors;
  FactorScreen screen;
};

std::vector<std::tuple<int64_t, int64_t, float>> Listed(const std::vector<FiredEdit>& fired) {
  std::vector<std::tuple<int64_t, int64_t, float>> listed;
  for (const FiredEdit& edit : fired) listed.emplace_back(edit.token, edit.row, edit.activation);
  return listed;
}

// Whether the memo says of `input` and the first `rows` edits what FindFired says.
void ExpectSame(const Line& line, int64_t rows, const at::Tensor& input, FiredMemo* memo) {
  const StackedFactors factors = line.First(rows);
  const FactorScreen screen = line.FirstOfScreen(rows);
  EXPECT_EQ(Listed(memo->Find(factors, screen, input)), Listed(FindFired(factors, &screen, input)));
}

TEST(FiredMemoTest, SaysWhatFindFiredSaysAlongALineAndBack) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937_64 random(seed);
    const Line line(300);
    const at::Tensor inputs = RandomTensor({50, kDimensions}, seed + 10);
    FiredMemo memo(kPlenty);
    size_t fired = 0;
    for (int call = 0; call < 20; ++call) {
      std::vector<at::Tensor> some;
      for (int i = 0; i < 12; ++i)
        some.push_back(inputs.narrow(0, static_cast<int64_t>(random() % 50), 1));
      const auto rows = static_cast<int64_t>(1 + random() % 300);
      ExpectSame(line, rows, at::cat(some, 0), &memo);
      const FactorScreen screen = line.FirstOfScreen(rows);
      fired += FindFired(line.First(rows), &screen, at::cat(some, 0)).size();
    }
    EXPECT_GT(fired, 0u);
    EXPECT_LE(memo.size(), 50);
  }
}

TEST(FiredMemoTest, ATokenThatWasSeenIsNotHeldAgainstTheSameEditsAgain) {
  const Line line(64);
  const at::Tensor input = RandomTensor({10, kDimensions}, 5);
  FiredMemo memo(kPlenty);
  const auto first = Listed(memo.Find(line.factors, line.screen, input));
  ASSERT_FALSE(first.empty());
  // With other factors it would find nothing.
  const StackedFactors silent = {line.factors.u, line.factors.v, line.factors.threshold * 1e6};
  EXPECT_EQ(Listed(memo.Find(silent, line.screen, input)), first);
  EXPECT_EQ(memo.size(), 10);
}

TEST(FiredMemoTest, TokensThatDifferInOneBitAreTwo) {
  const Line line(64);
  const at::Tensor input = RandomTensor({1, kDimensions}, 5);
  at::Tensor other = input.clone();
  float* last = other.mutable_data_ptr<float>() + kDimensions - 1;
  *last = std::nextafter(*last, 2.0f);
  FiredMemo memo(kPlenty);
  memo.Find(line.factors, line.screen, at::cat({input, other, input}, 0));
  EXPECT_EQ(memo.size(), 2);
}

TEST(FiredMemoTest, HoldsNoMoreThanItMay) {
  const Line line(64);
  FiredMemo memo(32);
  for (uint64_t seed = 0; seed < 40; ++seed) {
    ExpectSame(line, 64, RandomTensor({8, kDimensions}, 100 + seed), &memo);
    EXPECT_LE(memo.size(), 32);
  }
  EXPECT_GE(memo.size(), 16);
}

TEST(FiredMemoTest, ManyMayAskAtOnce) {
  const Line line(200);
  const at::Tensor inputs = RandomTensor({30, kDimensions}, 7);
  FiredMemo memo(kPlenty);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int64_t rows = 20 + i; rows <= 200; rows += 20) ExpectSame(line, rows, inputs, &memo);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(FiredMemoTest, NoTokensAndNoFactorsFireNothing) {
  const Line line(8);
  FiredMemo memo(kPlenty);
  EXPECT_TRUE(memo.Find(line.factors, line.screen, RandomTensor({0, kDimensions}, 1)).empty());
  EXPECT_TRUE(memo.Find({}, {}, RandomTensor({3, kDimensions}, 1)).empty());
}

}  // namespace
}  // namespace amend
