// Compares what both scopes share with what the paper's published code computed: the key covariance
// and the first layer of the first batch, where no scope plays a part yet. reference_golden_test
// and target_values_golden_test compare the rest.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>

#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/hook_stack.h"
#include "core/editing/key_covariance.h"
#include "core/editing/layer_updates.h"
#include "core/editing/tensor_matrix.h"
#include "core/editing/testing/golden_run.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

class EditingGoldenTest : public testing::TestWithParam<GoldenModel> {
 protected:
  void SetUp() override { AMEND_ASSERT_OK_AND_ASSIGN(run_, GoldenRun::Load(GetParam())); }

  std::unique_ptr<const GoldenRun> run_;
};

TEST_P(EditingGoldenTest, KeyCovariance) {
  std::vector<std::string> texts;
  std::ifstream file("models/demo/covariance_texts.txt");
  for (std::string line; std::getline(file, line);) texts.push_back(line);
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance covariance,
                             ComputeKeyCovariance(*run_->model(), *run_->tokenizer(),
                                                  run_->settings().layers, texts, 0, nullptr));
  const KeyCovariance golden = run_->Covariance();
  EXPECT_EQ(covariance.tokens, golden.tokens);
  ASSERT_EQ(covariance.layers.size(), golden.layers.size());
  for (size_t i = 0; i < golden.layers.size(); ++i) {
    ASSERT_EQ(covariance.layers[i].layer, golden.layers[i].layer);
    ExpectGolden(absl::StrCat("layer", golden.layers[i].layer.value(), ".covariance"),
                 ToTensor(covariance.layers[i].moment), ToTensor(golden.layers[i].moment), 1e-5);
  }
}

TEST_P(EditingGoldenTest, TheServingLayerLoopAgreesWhereNoScopePlaysAPart) {
  std::map<LayerIndex, at::Tensor> background;
  for (const KeyCovariance::Layer& layer : run_->Covariance().layers) {
    background[layer.layer] = run_->settings().lambda * ToTensor(layer.moment).to(at::kDouble);
  }
  const auto unedited = HookStack::Empty(*run_->model(), run_->settings().beta);
  AMEND_ASSERT_OK_AND_ASSIGN(
      const auto updates,
      SolveLayers(*run_->model(), *unedited, run_->settings(), run_->batches()[0].rows,
                  run_->TargetValues(0), background, [](int, int) { return true; }));
  const LayerIndex first = run_->settings().layers.front();
  const LayerUpdate& update = updates.at(first);
  ExpectGolden("keys", update.keys, run_->Keys(0, first), 1e-4);
  ExpectGolden("current_z", update.current, run_->CurrentValues(0, first), 1e-4);
  // The residual is a small difference of large numbers: 2 % of z on the random model.
  const at::Tensor residuals = update.u * update.activations.unsqueeze(1);
  ExpectGolden("update", at::matmul(residuals.t(), update.v), run_->Update(0, first), 5e-4);
}

INSTANTIATE_TEST_SUITE_P(Models, EditingGoldenTest, testing::ValuesIn(kGoldenModels));

}  // namespace
}  // namespace amend
