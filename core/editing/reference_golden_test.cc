// Compares each step of EditScope::kReference with what the paper's published code computed, on two
// models and over three batches: every step is given the golden results of the steps before it.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/key_solver.h"
#include "core/editing/reference_editor.h"
#include "core/editing/reference_forward.h"
#include "core/editing/solver_input.h"
#include "core/editing/testing/golden_run.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

class ReferenceGoldenTest : public testing::TestWithParam<GoldenModel> {
 protected:
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(run_, GoldenRun::Load(GetParam()));
    batches_ = static_cast<int>(run_->batches().size());
    ASSERT_EQ(batches_, 3);
  }

  static std::string Name(int batch, LayerIndex layer, const std::string& what) {
    return absl::StrCat("batch", batch, ".layer", layer.value(), ".", what);
  }

  std::unique_ptr<const GoldenRun> run_;
  int batches_ = 0;
};

TEST_P(ReferenceGoldenTest, KeysAndCurrentValuesUnderTheGoldenHooks) {
  for (int batch = 0; batch < batches_; ++batch) {
    ReferenceLayerWalk walk(*run_->model(), run_->LayersAfter(batch - 1),
                            run_->batches()[batch].rows);
    for (const LayerIndex layer : run_->settings().layers) {
      ExpectGolden(Name(batch, layer, "keys"), walk.Keys(layer), run_->Keys(batch, layer), 1e-4);
      ExpectGolden(Name(batch, layer, "current_z"), walk.CurrentValues(),
                   run_->CurrentValues(batch, layer), 1e-4);
      walk.Validate({run_->Update(batch, layer), run_->Alpha(batch - 1, layer)});
    }
  }
}

TEST_P(ReferenceGoldenTest, UpdatesFromTheGoldenKeysAndValues) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const auto factors,
      FactorCovariance(run_->model()->config(), run_->settings(), run_->Covariance()));
  std::map<LayerIndex, KeySolver> solvers;
  for (const auto& [layer, factor] : factors) solvers.emplace(layer, KeySolver(factor));
  std::map<LayerIndex, at::Tensor> updates;
  for (int batch = 0; batch < batches_; ++batch) {
    double share = static_cast<double>(run_->settings().layers.size());
    for (const LayerIndex layer : run_->settings().layers) {
      const at::Tensor keys = run_->Keys(batch, layer);
      AMEND_ASSERT_OK_AND_ASSIGN(
          const at::Tensor increment,
          UpdateIncrement(&solvers.at(layer), keys, run_->TargetValues(batch),
                          run_->CurrentValues(batch, layer), share));
      updates[layer] = batch == 0 ? increment : updates[layer] + increment;
      ExpectGolden(Name(batch, layer, "update"), updates[layer], run_->Update(batch, layer), 1e-5);
      ASSERT_THAT(solvers.at(layer).Append(keys), IsOk());
      share -= 1;
    }
  }
}

TEST_P(ReferenceGoldenTest, LargestScoresAndAlphaUnderTheGoldenUpdates) {
  for (int batch = 0; batch < batches_; ++batch) {
    const auto scores =
        LargestScores(*run_->model(), run_->LayersAfter(batch), run_->batches()[batch].rows);
    for (const LayerIndex layer : run_->settings().layers) {
      ExpectGolden(Name(batch, layer, "max_z_scores"), scores.at(layer),
                   run_->LargestScores(batch, layer), 1e-4);
      EXPECT_NEAR(LoweredAlpha(run_->Alpha(batch - 1, layer), scores.at(layer)),
                  run_->Alpha(batch, layer), 1e-4)
          << Name(batch, layer, "alpha");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ReferenceGoldenTest, testing::ValuesIn(kGoldenModels));

}  // namespace
}  // namespace amend
