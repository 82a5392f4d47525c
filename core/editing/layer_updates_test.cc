#include "core/editing/layer_updates.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/factors.h"
#include "core/editing/testing/editing_oracle.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::HasSubstr;
using testing::Pair;
using Model = std::shared_ptr<const CausalLm>;
using Covariances = std::map<LayerIndex, at::Tensor>;
using Updates = std::map<LayerIndex, LayerUpdate>;

bool GoOn(int, int) { return true; }

// A symmetric positive definite matrix [n, n], float64.
at::Tensor RandomCovariance(int64_t n, uint64_t seed) {
  const at::Tensor a = RandomTensor({n, n}, seed).to(at::kDouble);
  return 0.2 * at::matmul(a, a.t()) + at::eye(n, at::kDouble);
}

// One line of random batches and what a solve on top of it needs.
struct Case {
  Model model;
  EditSettings settings;
  std::vector<RevisionFactors> parents;
  std::shared_ptr<const HookStack> hooks;
  std::vector<EditRows> edits;
  at::Tensor targets;
  Covariances covariances;
};

Case MakeCase(uint64_t seed, int count) {
  std::mt19937_64 random(seed);
  const RandomModelShape shape;
  Case made;
  made.model = RandomGpt2(shape, seed);
  made.settings.layers = {LayerIndex(0), LayerIndex(1 + static_cast<int>(random() % 2)),
                          LayerIndex(3)};
  if (random() % 3 == 0) made.settings.layers.erase(made.settings.layers.begin());
  made.hooks = HookStack::Empty(*made.model, made.settings.beta);
  std::vector<int> layers;
  for (const LayerIndex layer : made.settings.layers) {
    layers.push_back(layer.value());
    made.covariances[layer] = RandomCovariance(shape.intermediate(), seed + layer.value());
  }
  for (uint64_t i = 0; i < random() % 3; ++i) {
    made.parents.push_back(RandomFactors(shape, layers, 2, seed + i));
    made.hooks = *HookStack::Extend(made.hooks, Revision(i + 1), made.parents.back());
  }
  const int prefixes = static_cast<int>(random() % 6);
  for (int i = 0; i < count; ++i)
    made.edits.push_back(RandomEditRows(&random, shape.vocabulary, prefixes, 1));
  made.targets = 3 * RandomTensor({count, shape.hidden}, seed + 77);
  return made;
}

absl::StatusOr<Updates> Solve(const Case& given) {
  return SolveLayers(*given.model, *given.hooks, given.settings, given.edits, given.targets,
                     given.covariances, GoOn);
}

void ExpectEqualsOracle(const Case& given) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Updates fast, Solve(given));
  const auto slow = OracleSolveLayers(*given.model, given.parents, given.settings, given.edits,
                                      given.targets, given.covariances);
  ASSERT_EQ(fast.size(), slow.size());
  for (const auto& [layer, wanted] : slow) {
    SCOPED_TRACE(absl::StrCat("layer ", layer.value()));
    const LayerUpdate& update = fast.at(layer);
    EXPECT_LT(RelativeDifference(update.keys, wanted.keys), 1e-4);
    EXPECT_LT(RelativeDifference(update.current, wanted.current), 1e-4);
    EXPECT_LT(RelativeDifference(update.u, wanted.u), 1e-4);
    EXPECT_LT(RelativeDifference(update.v, wanted.v), 1e-4);
    EXPECT_LT(RelativeDifference(update.activations, (wanted.v * wanted.keys).sum(1)), 1e-4);
  }
}

void ExpectEqualsOracle(uint64_t seed, int count) {
  SCOPED_TRACE(absl::StrCat("seed ", seed, ", ", count, " edits"));
  ExpectEqualsOracle(MakeCase(seed, count));
}

class LayerUpdatesOracleTest : public testing::TestWithParam<int> {};

TEST_P(LayerUpdatesOracleTest, EqualsTheSlowComputation) {
  ExpectEqualsOracle(2000 + GetParam(), 1 + GetParam() % 12);
}

INSTANTIATE_TEST_SUITE_P(Seeds, LayerUpdatesOracleTest, testing::Range(0, 36));

TEST(LayerUpdatesLargeBatchTest, EqualsTheSlowComputation) { ExpectEqualsOracle(99, 40); }

TEST(LayerUpdatesTest, SolvingTwiceGivesTheSameBytes) {
  const Case given = MakeCase(5, 7);
  AMEND_ASSERT_OK_AND_ASSIGN(const Updates first, Solve(given));
  AMEND_ASSERT_OK_AND_ASSIGN(const Updates second, Solve(given));
  for (const auto& [layer, update] : first) {
    EXPECT_TRUE(update.u.equal(second.at(layer).u));
    EXPECT_TRUE(update.v.equal(second.at(layer).v));
  }
}

TEST(LayerUpdatesTest, ActivationsAreBetweenZeroAndOne) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Updates updates, Solve(MakeCase(6, 9)));
  for (const auto& [layer, update] : updates) {
    EXPECT_GT(update.activations.min().item<float>(), 0);
    EXPECT_LT(update.activations.max().item<float>(), 1);
  }
}

TEST(LayerUpdatesTest, TheLastLayerClosesTheWholeResidual) {
  const Case given = MakeCase(7, 4);
  AMEND_ASSERT_OK_AND_ASSIGN(const Updates updates, Solve(given));
  const LayerUpdate& last = updates.at(given.settings.layers.back());
  EXPECT_LT(
      RelativeDifference(last.u * last.activations.unsqueeze(1), given.targets - last.current),
      1e-6);
}

TEST(LayerUpdatesTest, ProgressCountsLayers) {
  const Case given = MakeCase(7, 2);
  std::vector<std::pair<int, int>> calls;
  ASSERT_THAT(SolveLayers(*given.model, *given.hooks, given.settings, given.edits, given.targets,
                          given.covariances,
                          [&](int done, int total) {
                            calls.emplace_back(done, total);
                            return true;
                          }),
              IsOk());
  const int layers = static_cast<int>(given.settings.layers.size());
  ASSERT_EQ(calls.size(), given.settings.layers.size());
  EXPECT_THAT(calls.back(), Pair(layers, layers));
}

TEST(LayerUpdatesTest, FalseFromTheCallbackCancels) {
  const Case given = MakeCase(7, 2);
  EXPECT_THAT(SolveLayers(*given.model, *given.hooks, given.settings, given.edits, given.targets,
                          given.covariances, [](int, int) { return false; }),
              StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace amend
