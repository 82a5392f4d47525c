#include "core/generation/logit_scan.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "hwy/targets.h"

namespace amend {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Each test runs once for every instruction set that this machine has.
class LogitScanTest : public testing::TestWithParam<int64_t> {
 protected:
  LogitScanTest()
      : seed_(std::random_device()()),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_),
        random_(seed_) {
    hwy::SetSupportedTargetsForTest(GetParam());
  }
  ~LogitScanTest() override { hwy::SetSupportedTargetsForTest(0); }

  // Of any length up to 5,000; one in eight not finite.
  std::vector<float> Logits() {
    std::vector<float> logits(1 + random_() % 5000);
    std::normal_distribution<float> distribution(0, 8);
    for (float& logit : logits) {
      constexpr float kAbsent[] = {kInf, -kInf, kNaN};
      logit = random_() % 8 == 0 ? kAbsent[random_() % 3] : std::round(distribution(random_));
    }
    return logits;
  }

  const uint32_t seed_;
  const testing::ScopedTrace trace_;
  std::mt19937 random_;
};

INSTANTIATE_TEST_SUITE_P(Sets, LogitScanTest,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& info) { return std::string(hwy::TargetName(info.param)); });

TEST_P(LogitScanTest, TheBestIsTheFirstOfTheLargestFiniteOnes) {
  for (int i = 0; i < 100; ++i) {
    const std::vector<float> logits = Logits();
    TokenId expected = -1;
    for (size_t id = 0; id < logits.size(); ++id) {
      if (!std::isfinite(logits[id])) continue;
      if (expected < 0 || logits[id] > logits[expected]) expected = static_cast<TokenId>(id);
    }
    const BestLogit best = FindBestLogit(logits);
    ASSERT_EQ(best.id, expected);
    if (expected >= 0) {
      ASSERT_EQ(best.logit, logits[expected]);
    }
  }
}

TEST_P(LogitScanTest, NothingFiniteHasNoBest) {
  EXPECT_EQ(FindBestLogit({}).id, -1);
  EXPECT_EQ(FindBestLogit(std::vector<float>(40, kNaN)).id, -1);
  EXPECT_EQ(FindBestLogit({-kInf, kInf, kNaN}).id, -1);
}

TEST_P(LogitScanTest, TheSumIsThatOfTheFiniteLogits) {
  for (int i = 0; i < 100; ++i) {
    const std::vector<float> logits = Logits();
    const BestLogit best = FindBestLogit(logits);
    if (best.id < 0) continue;
    double sum = 0;
    for (const float logit : logits) {
      if (std::isfinite(logit)) sum += std::exp(static_cast<double>(logit) - best.logit);
    }
    ASSERT_NEAR(LogSumExpBelow(logits, best.logit), std::log(sum), 2e-6);
  }
}

TEST_P(LogitScanTest, ExtremesNeitherOverflowNorCount) {
  const float most = std::numeric_limits<float>::max();
  EXPECT_NEAR(LogSumExpBelow({most, -most, most, 0}, most), std::log(2), 1e-6);
  std::vector<float> logits(40, -most);
  logits[33] = 2;
  EXPECT_EQ(FindBestLogit(logits).id, 33);
  EXPECT_NEAR(LogSumExpBelow(logits, 2), 0, 1e-7);
}

}  // namespace
}  // namespace amend
