#include "core/editing/moment_settling.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>

#include <cmath>

#include "core/editing/testing/random_model.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr int64_t kSize = 20;

MomentSettling Started(const at::Tensor& keys, SymmetricSum* sum) {
  MomentSettling settling(LayerIndex(3));
  settling.TakeSample(keys);
  sum->Add(keys);
  settling.Observe(*sum, keys.size(0));
  return settling;
}

TEST(MomentSettlingTest, TheFirstObservationHasNothingToCompareWith) {
  SymmetricSum sum(kSize, at::kCPU);
  EXPECT_TRUE(Started(RandomTensor({100, kSize}, 1), &sum).steps().empty());
}

TEST(MomentSettlingTest, TheSameKeysAgainChangeNothing) {
  const at::Tensor keys = RandomTensor({100, kSize}, 1);
  SymmetricSum sum(kSize, at::kCPU);
  MomentSettling settling = Started(keys, &sum);
  sum.Add(keys);
  settling.Observe(sum, 200);
  ASSERT_EQ(settling.steps().size(), 1u);
  const SettlingStep& step = settling.steps()[0];
  EXPECT_EQ(step.layer, LayerIndex(3));
  EXPECT_EQ(step.from_tokens, 100);
  EXPECT_EQ(step.to_tokens, 200);
  EXPECT_NEAR(step.moment_change, 0, 1e-6);
  EXPECT_NEAR(*step.median_cosine, 1, 1e-9);
  EXPECT_NEAR(*step.smallest_cosine, 1, 1e-9);
  EXPECT_NEAR(*step.median_leverage_change, 0, 1e-9);
}

// M goes from I to diag(4, 1, ..., 1) and a key (1, 1, 0, ...) from the direction (1, 1) to
// (1/4, 1).
TEST(MomentSettlingTest, ChangesAreThoseWorkedOutByHand) {
  const at::Tensor unit = at::eye(kSize) * std::sqrt(double{kSize});
  SymmetricSum sum(kSize, at::kCPU);
  sum.Add(unit);
  at::Tensor key = at::eye(kSize).select(0, 0) + at::eye(kSize).select(0, 1);
  MomentSettling settling(LayerIndex(0));
  settling.TakeSample(key.unsqueeze(0));
  settling.Observe(sum, kSize);
  sum.Add(unit);
  sum.Add(unit.narrow(0, 0, 1) * std::sqrt(6.0));
  settling.Observe(sum, 2 * kSize);
  ASSERT_EQ(settling.steps().size(), 1u);
  const SettlingStep& step = settling.steps()[0];
  EXPECT_NEAR(step.moment_change, 3 / std::sqrt(16.0 + kSize - 1), 1e-5);
  EXPECT_NEAR(*step.median_cosine, 1.25 / (std::sqrt(2.0) * std::sqrt(1 + 1 / 16.0)), 1e-6);
  EXPECT_NEAR(*step.median_leverage_change, 0.75 / 1.25, 1e-6);
}

TEST(MomentSettlingTest, ASingularMomentHasNoDirections) {
  SymmetricSum sum(kSize, at::kCPU);
  const at::Tensor few = RandomTensor({kSize / 2, kSize}, 1);
  MomentSettling settling = Started(few, &sum);
  sum.Add(RandomTensor({100, kSize}, 2));
  settling.Observe(sum, 100 + kSize / 2);
  ASSERT_EQ(settling.steps().size(), 1u);
  EXPECT_GT(settling.steps()[0].moment_change, 0);
  EXPECT_FALSE(settling.steps()[0].median_cosine.has_value());
  sum.Add(RandomTensor({100, kSize}, 3));
  settling.Observe(sum, 200 + kSize / 2);
  EXPECT_TRUE(settling.steps()[1].median_cosine.has_value());
}

TEST(MomentSettlingTest, OnlyTheFirstSampleCounts) {
  MomentSettling settling(LayerIndex(0));
  settling.TakeSample(RandomTensor({100, kSize}, 1));
  const at::Tensor sample = settling.state().sample;
  EXPECT_EQ(sample.size(0), 32);
  settling.TakeSample(RandomTensor({100, kSize}, 2));
  EXPECT_TRUE(sample.equal(settling.state().sample));
}

TEST(MomentSettlingTest, GoesOnFromARestoredState) {
  SymmetricSum sum(kSize, at::kCPU);
  MomentSettling settling = Started(RandomTensor({100, kSize}, 1), &sum);
  MomentSettling resumed(LayerIndex(3));
  MomentSettling::State state = settling.state();
  for (at::Tensor& panel : state.earlier) panel = panel.clone();
  resumed.Restore(state);
  sum.Add(RandomTensor({100, kSize}, 2));
  settling.Observe(sum, 200);
  resumed.Observe(sum, 200);
  ASSERT_EQ(resumed.steps().size(), 1u);
  EXPECT_EQ(resumed.steps()[0].moment_change, settling.steps()[0].moment_change);
  EXPECT_EQ(resumed.steps()[0].smallest_cosine, settling.steps()[0].smallest_cosine);
}

}  // namespace
}  // namespace amend
