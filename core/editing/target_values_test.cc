#include "core/editing/target_values.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/factors.h"
#include "core/editing/hook_stack.h"
#include "core/editing/testing/editing_oracle.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::HasSubstr;
using Model = std::shared_ptr<const CausalLm>;

constexpr int kMaxTarget = 6;

bool GoOn(int, int) { return true; }

// lr 0.1 and few steps: Adam's first steps are the signs of the gradient, so a component near zero
// turns a rounding error into a step of its own.
EditSettings RandomSettings(std::mt19937_64* random) {
  EditSettings settings;
  settings.layers = {LayerIndex(0), LayerIndex(1 + static_cast<int>((*random)() % 2))};
  settings.steps = 2 + static_cast<int>((*random)() % 6);
  settings.learning_rate = 0.1;
  settings.clamp = (*random)() % 2 == 0 ? 4.0 : 0.05;
  settings.stop_loss = (*random)() % 2 == 0 ? 0.05 : 3.5;
  return settings;
}

std::vector<EditRows> RandomEdits(std::mt19937_64* random, int count, int vocabulary) {
  std::vector<EditRows> edits;
  const int prefixes = static_cast<int>((*random)() % 6);
  for (int i = 0; i < count; ++i) {
    const int target = 1 + static_cast<int>((*random)() % kMaxTarget);
    edits.push_back(RandomEditRows(random, vocabulary, prefixes, target));
  }
  return edits;
}

// Solves random edits over a parent of three edits both ways. The slow one takes its gradients by
// LibTorch's autograd through whole forward passes.
void ExpectEqualsOracle(const Model& model, uint64_t seed, int count) {
  SCOPED_TRACE(absl::StrCat("seed ", seed, ", ", count, " edits"));
  std::mt19937_64 random(seed);
  RandomModelShape shape;
  shape.hidden = model->config().hidden_size;
  shape.vocabulary = model->config().vocabulary_size;
  ASSERT_EQ(model->config().intermediate_size, shape.intermediate());
  EditSettings settings = RandomSettings(&random);
  // Without a block above, labels behind the lookup index feel nothing of delta, and Adam makes
  // steps of rounding errors.
  settings.layers.back() = std::min(settings.layers.back(), LayerIndex(model->config().layers - 2));
  const std::vector<EditRows> edits = RandomEdits(&random, count, shape.vocabulary);
  const std::vector<RevisionFactors> parents = {
      RandomFactors(shape, {settings.layers[0].value(), settings.layers[1].value()}, 3, seed)};
  AMEND_ASSERT_OK_AND_ASSIGN(
      const auto hooks,
      HookStack::Extend(HookStack::Empty(*model, settings.beta), Revision(1), parents[0]));
  AMEND_ASSERT_OK_AND_ASSIGN(const Model prepared, PrepareForTargets(model, settings));
  AMEND_ASSERT_OK_AND_ASSIGN(
      const TargetValues fast,
      OptimizeTargetValues(seed % 2 == 0 ? *model : *prepared, *hooks, settings, edits, GoOn));
  ASSERT_EQ(fast.z.size(0), count);
  for (int i = 0; i < count; ++i) {
    const OracleTarget slow = OracleTargetValue(*model, parents, settings, edits[i]);
    EXPECT_LT(RelativeDifference(fast.z[i], slow.z), 1e-3) << "edit " << i;
    EXPECT_NEAR(fast.reports[i].loss, slow.loss, 1e-3 * std::abs(slow.loss)) << "edit " << i;
    EXPECT_EQ(fast.reports[i].steps, slow.steps) << "edit " << i;
  }
}

class TargetValuesOracleTest : public testing::TestWithParam<int> {};

TEST_P(TargetValuesOracleTest, EqualsTheSlowComputation) {
  const int seed = 1000 + GetParam();
  ExpectEqualsOracle(RandomGpt2(RandomModelShape(), seed), seed, 1 + GetParam() % 12);
}

INSTANTIATE_TEST_SUITE_P(Seeds, TargetValuesOracleTest, testing::Range(0, 36));

TEST(TargetValuesLargeBatchTest, EqualsTheSlowComputation) {
  ExpectEqualsOracle(RandomGpt2(RandomModelShape(), 77), 77, 40);
}

class TargetValuesArchitectureTest : public testing::TestWithParam<const char*> {};

TEST_P(TargetValuesArchitectureTest, EqualsTheSlowComputation) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const Model model,
      LoadCausalLm(absl::StrCat("tests/testdata/architectures/", GetParam()), LoadOptions()));
  for (int seed = 1; seed <= 6; ++seed) ExpectEqualsOracle(model, seed, 1 + seed % 4);
}

std::string ModelName(const testing::TestParamInfo<const char*>& info) {
  return std::vector<std::string>{"Llama", "Qwen2", "GptNeox"}[info.index];
}

INSTANTIATE_TEST_SUITE_P(Models, TargetValuesArchitectureTest,
                         testing::Values("llama", "qwen2", "gpt-neox"), ModelName);

class TargetValuesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { model_ = RandomGpt2(RandomModelShape(), 3); }
  static void TearDownTestSuite() { model_.reset(); }
  void SetUp() override {
    std::mt19937_64 random(9);
    edits_ = RandomEdits(&random, 5, RandomModelShape().vocabulary);
    settings_.layers = {LayerIndex(0), LayerIndex(1)};
    settings_.steps = 6;
    hooks_ = HookStack::Empty(*model_, settings_.beta);
  }

  absl::StatusOr<TargetValues> Optimize() {
    return OptimizeTargetValues(*model_, *hooks_, settings_, edits_, GoOn);
  }

  static Model model_;
  std::vector<EditRows> edits_;
  EditSettings settings_;
  std::shared_ptr<const HookStack> hooks_;
};

Model TargetValuesTest::model_;

TEST_F(TargetValuesTest, SolvingTwiceGivesTheSameBytes) {
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues first, Optimize());
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues second, Optimize());
  EXPECT_TRUE(first.z.equal(second.z));
}

TEST_F(TargetValuesTest, BFloat16ProductsComeNearTheSameLosses) {
  settings_.target_precision = TargetPrecision::kBFloat16;
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues exact, Optimize());
  AMEND_ASSERT_OK_AND_ASSIGN(const Model prepared, PrepareForTargets(model_, settings_));
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues rounded,
                             OptimizeTargetValues(*prepared, *hooks_, settings_, edits_, GoOn));
  EXPECT_FALSE(exact.z.equal(rounded.z));
  for (size_t i = 0; i < edits_.size(); ++i) {
    EXPECT_NEAR(rounded.reports[i].loss, exact.reports[i].loss, 0.05 * exact.reports[i].loss);
  }
}

TEST_F(TargetValuesTest, AModelInBFloat16IsLeftAsItIs) {
  LoadOptions options;
  options.dtype = Dtype::kBFloat16;
  AMEND_ASSERT_OK_AND_ASSIGN(const Model model, LoadCausalLm("models/demo", options));
  AMEND_ASSERT_OK_AND_ASSIGN(const Model prepared, PrepareForTargets(model, settings_));
  EXPECT_EQ(prepared, model);
}

TEST_F(TargetValuesTest, AnEditDoesNotDependOnItsBatch) {
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues all, Optimize());
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues alone,
                             OptimizeTargetValues(*model_, *hooks_, settings_,
                                                  absl::MakeConstSpan(edits_).subspan(3, 1), GoOn));
  EXPECT_LT(RelativeDifference(all.z[3], alone.z[0]), 1e-3);
}

TEST_F(TargetValuesTest, OneIterationTakesNoStep) {
  settings_.steps = 1;
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues one, Optimize());
  settings_.learning_rate = 100;
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues other, Optimize());
  EXPECT_TRUE(one.z.equal(other.z));
  EXPECT_EQ(one.reports[0].steps, 1);
}

TEST_F(TargetValuesTest, TheStepStaysWithinTheClamp) {
  settings_.steps = 1;
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues initial, Optimize());
  settings_.steps = 5;
  settings_.clamp = 0.01;
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues clamped, Optimize());
  for (int64_t i = 0; i < initial.z.size(0); ++i) {
    const double z0 = initial.z[i].norm().item<double>();
    EXPECT_NEAR((clamped.z[i] - initial.z[i]).norm().item<double>(), 0.01 * z0, 1e-4 * z0);
  }
}

TEST_F(TargetValuesTest, AnEditThatStartsBelowTheStopLossStays) {
  settings_.stop_loss = 1e6;
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues stopped, Optimize());
  settings_.steps = 1;
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues initial, Optimize());
  EXPECT_TRUE(stopped.z.equal(initial.z));
  for (const TargetReport& report : stopped.reports) EXPECT_EQ(report.steps, 1);
}

TEST_F(TargetValuesTest, OptimisingLowersTheLoss) {
  settings_.steps = 1;
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues before, Optimize());
  settings_.steps = 20;
  settings_.clamp = 4;
  settings_.learning_rate = 0.1;
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues after, Optimize());
  for (size_t i = 0; i < edits_.size(); ++i)
    EXPECT_LT(after.reports[i].loss, before.reports[i].loss) << "edit " << i;
}

TEST_F(TargetValuesTest, TheLossLayerMayBeTheLastEditedLayer) {
  settings_.loss_layer = 1;
  // Most labels do not feel delta here: where the gradient is zero the slow computation has
  // rounding errors, which Adam turns into steps. The losses stay as near as docs/numerics.md says.
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues fast, Optimize());
  for (size_t i = 0; i < edits_.size(); ++i) {
    const OracleTarget slow = OracleTargetValue(*model_, {}, settings_, edits_[i]);
    EXPECT_NEAR(fast.reports[i].loss, slow.loss, 1e-2 * std::abs(slow.loss)) << "edit " << i;
  }
}

TEST_F(TargetValuesTest, ProgressRisesToTheTotal) {
  std::vector<int> done;
  settings_.stop_loss = 0;
  ASSERT_THAT(OptimizeTargetValues(*model_, *hooks_, settings_, edits_,
                                   [&](int now, int total) {
                                     EXPECT_EQ(total, 30);
                                     done.push_back(now);
                                     return true;
                                   }),
              IsOk());
  EXPECT_THAT(done, testing::ElementsAre(5, 10, 15, 20, 25, 30));
}

TEST_F(TargetValuesTest, FalseFromTheCallbackCancels) {
  int calls = 0;
  EXPECT_THAT(OptimizeTargetValues(*model_, *hooks_, settings_, edits_,
                                   [&](int, int) { return ++calls < 3; }),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(calls, 3);
}

TEST_F(TargetValuesTest, ALossThatIsNotFiniteNamesTheEdit) {
  const auto broken = RandomGpt2(RandomModelShape(), 3, [](auto* weights) {
    weights->at("transformer.h.3.mlp.c_fc.weight")[0][0] = std::numeric_limits<float>::infinity();
  });
  EXPECT_THAT(OptimizeTargetValues(*broken, *hooks_, settings_, edits_, GoOn),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("edit 0 is not finite")));
}

}  // namespace
}  // namespace amend
