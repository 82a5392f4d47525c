// Compares the engine with the reference implementation's intermediates of one batch on two models
// (tests/golden/cut_golden.py). The reference scopes by z score while it solves, so of the layers
// above the first only what does not depend on the scope is compared. Differences are relative to
// the largest magnitude of the tensor.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>

#include <fstream>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/edit_rows.h"
#include "core/editing/hook_stack.h"
#include "core/editing/key_covariance.h"
#include "core/editing/layer_updates.h"
#include "core/editing/target_values.h"
#include "core/editing/tensor_matrix.h"
#include "core/editing/testing/editing_oracle.h"
#include "core/editing/testing/random_model.h"
#include "core/model/causal_lm.h"
#include "core/model/checkpoint.h"
#include "core/tokenizer/tokenizer.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace amend {
namespace {

struct GoldenModel {
  std::string model;
  std::string golden;
  // Of one layer, given keys and residuals. The golden covariance gives 1e-5; our own differs from
  // it by 1e-6, which the solve's condition (1e5) turns into 1e-4.
  double update_tolerance;
  // Whether the target values follow from the loss. Not where the last edited layer is the last
  // layer: labels behind the lookup index do not feel delta there, and rounding errors decide.
  bool values_are_determined;
};

void PrintTo(const GoldenModel& model, std::ostream* os) { *os << model.model; }

bool GoOn(int, int) { return true; }

std::vector<std::string> Lines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::string CovarianceName(LayerIndex layer) {
  return absl::StrCat("layer", layer.value(), ".covariance");
}

class EditingGoldenTest : public testing::TestWithParam<GoldenModel> {
 protected:
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(model_, LoadCausalLm(GetParam().model, LoadOptions()));
    AMEND_ASSERT_OK_AND_ASSIGN(tokenizer_, Tokenizer::FromDirectory(GetParam().model));
    AMEND_ASSERT_OK_AND_ASSIGN(file_,
                               SafetensorsFile::Open(GetParam().golden + "/golden.safetensors"));
    std::ifstream stream(GetParam().golden + "/golden.json");
    const auto json = nlohmann::json::parse(stream);
    for (const int layer : json.at("layers")) settings_.layers.push_back(LayerIndex(layer));
    settings_.lambda = json.at("lambda_");
    settings_.clamp = json.at("clamp");
    settings_.learning_rate = json.at("v_lr");
    settings_.steps = json.at("steps");
    settings_.context_templates = json.at("templates").get<std::vector<std::string>>();
    stride_ = json.at("stride");
    covariance_stride_ = json.at("covariance_stride");
    tokens_ = json.at("covariance_tokens");
    for (const auto& request : json.at("requests")) {
      Edit edit;
      edit.prompt = request.at("prompt");
      edit.subject = request.at("subject");
      edit.target_new = request.at("target_new");
      AMEND_ASSERT_OK_AND_ASSIGN(EditRows rows, MakeEditRows(*tokenizer_, settings_, edit));
      edits_.push_back(std::move(rows));
    }
    empty_ = HookStack::Empty(*model_, settings_.beta);
  }

  at::Tensor Golden(const std::string& name) const {
    const auto tensor = file_->Read(name);
    EXPECT_TRUE(tensor.ok()) << tensor.status();
    return tensor.ok() ? *tensor : at::Tensor();
  }
  at::Tensor GoldenOf(LayerIndex layer, const std::string& name) const {
    return Golden(absl::StrCat("batch0.layer", layer.value(), ".", name));
  }
  // Every stride-th row of a [rows, columns] tensor.
  static at::Tensor Sample(const at::Tensor& tensor, int64_t stride) {
    return tensor.index_select(0, at::arange(0, tensor.size(0), stride, at::kLong));
  }
  KeyCovariance Covariance() const {
    const auto covariance =
        ComputeKeyCovariance(*model_, *tokenizer_, settings_.layers,
                             Lines("models/demo/covariance_texts.txt"), 0, nullptr);
    EXPECT_TRUE(covariance.ok()) << covariance.status();
    return covariance.ok() ? *covariance : KeyCovariance();
  }
  // lambda Cov per layer, [d_in, d_in], float64: the golden one where all of it is there.
  std::map<LayerIndex, at::Tensor> Background() const {
    std::map<LayerIndex, at::Tensor> background;
    if (covariance_stride_ == 1) {
      for (const LayerIndex layer : settings_.layers)
        background[layer] = settings_.lambda * Golden(CovarianceName(layer)).to(at::kDouble);
      return background;
    }
    const KeyCovariance covariance = Covariance();
    for (const KeyCovariance::Layer& layer : covariance.layers)
      background[layer.layer] = settings_.lambda * ToTensor(layer.moment).to(at::kDouble);
    return background;
  }
  // Expects `actual` within `tolerance` of `expected`; the test's XML says how far it is.
  static void ExpectNear(const std::string& what, const at::Tensor& actual,
                         const at::Tensor& expected, double tolerance) {
    const double difference = RelativeDifference(actual, expected);
    RecordProperty(what, absl::StrCat(difference));
    EXPECT_LT(difference, tolerance) << what;
  }

  std::shared_ptr<const CausalLm> model_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<SafetensorsFile> file_;
  EditSettings settings_;
  std::vector<EditRows> edits_;
  std::shared_ptr<const HookStack> empty_;
  int64_t stride_ = 1;
  int64_t covariance_stride_ = 1;
  int64_t tokens_ = 0;
};

TEST_P(EditingGoldenTest, KeyCovariance) {
  const KeyCovariance covariance = Covariance();
  EXPECT_EQ(covariance.tokens, tokens_);
  ASSERT_EQ(covariance.layers.size(), settings_.layers.size());
  for (const KeyCovariance::Layer& layer : covariance.layers) {
    const std::string name = CovarianceName(layer.layer);
    ExpectNear(name, Sample(ToTensor(layer.moment), covariance_stride_), Golden(name), 1e-5);
  }
}

TEST_P(EditingGoldenTest, FirstLayerGivenTheTargetValues) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto updates,
                             SolveLayers(*model_, *empty_, settings_, edits_,
                                         Golden("batch0.target_z"), Background(), GoOn));
  const LayerIndex first = settings_.layers.front();
  const LayerUpdate& update = updates.at(first);
  ExpectNear("keys", update.keys, GoldenOf(first, "keys"), 1e-4);
  ExpectNear("current", update.current, GoldenOf(first, "current_z"), 1e-4);
  // The residual is a small difference of large numbers: 2 % of z on the random model.
  ExpectNear("update", Sample(at::matmul(update.u.t(), update.v), stride_),
             GoldenOf(first, "update"), 5e-4);
}

TEST_P(EditingGoldenTest, EveryLayersUpdateGivenItsKeysAndResiduals) {
  const at::Tensor z = Golden("batch0.target_z");
  const std::map<LayerIndex, at::Tensor> background = Background();
  double share = static_cast<double>(settings_.layers.size());
  for (const LayerIndex layer : settings_.layers) {
    AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor v,
                               SolveForKeys(background.at(layer), GoldenOf(layer, "keys")));
    const at::Tensor u = (z - GoldenOf(layer, "current_z")).to(at::kDouble) / share;
    ExpectNear(absl::StrCat("update", layer.value()), Sample(at::matmul(u.t(), v), stride_),
               GoldenOf(layer, "update"), GetParam().update_tolerance);
    share -= 1;
  }
}

TEST_P(EditingGoldenTest, TargetValuesFromScratch) {
  if (!GetParam().values_are_determined) GTEST_SKIP() << "rounding errors decide the direction";
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues targets,
                             OptimizeTargetValues(*model_, *empty_, settings_, edits_, GoOn));
  ExpectNear("z", targets.z, Golden("batch0.target_z"), 1e-3);
  for (int64_t i = 0; i < targets.z.size(0); ++i)
    ExpectNear(absl::StrCat("z", i), targets.z[i], Golden("batch0.target_z")[i], 1e-3);
}

TEST_P(EditingGoldenTest, LossesAreThoseOfTheSlowComputation) {
  if (GetParam().values_are_determined) GTEST_SKIP() << "the values themselves are compared";
  AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues targets,
                             OptimizeTargetValues(*model_, *empty_, settings_, edits_, GoOn));
  for (size_t i = 0; i < edits_.size(); ++i) {
    const OracleTarget slow = OracleTargetValue(*model_, {}, settings_, edits_[i]);
    EXPECT_NEAR(targets.reports[i].loss, slow.loss, 1e-2 * slow.loss) << "edit " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, EditingGoldenTest,
    testing::Values(GoldenModel{"models/demo", "tests/testdata/golden_world_gpt2_mini", 5e-4, true},
                    GoldenModel{"tests/testdata/random-gptj-tiny",
                                "tests/testdata/golden_random_gptj_tiny", 1e-5, false}));

}  // namespace
}  // namespace amend
