#include "core/model/gpt2.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>

#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/model/checkpoint.h"
#include "core/model/hook_point.h"
#include "core/model/testing/down_projection_input.h"
#include "core/model/testing/full_forward.h"
#include "core/model/testing/golden_logits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kModel[] = "models/demo";

std::shared_ptr<const CausalLm> LoadDemo() {
  const auto config = ReadModelConfig(kModel).value();
  return LoadGpt2(config, LoadOptions{}, *Checkpoint::Open(kModel).value()).value();
}

// Checks what a hook is given and doubles it at one layer.
class DoublingHook : public DownProjectionHook {
 public:
  DoublingHook(const CausalLm& model, LayerIndex layer) : model_(model), layer_(layer) {}
  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    layers_.push_back(layer);
    EXPECT_EQ(input.size(1), model_.config().intermediate_size);
    // Without its bias the output is the projection of the input.
    const at::Tensor product = at::matmul(input, model_.DownProjection(layer).t());
    const at::Tensor bias = output - product;
    EXPECT_THAT(bias, TensorNear(bias.narrow(0, 0, 1).expand_as(bias), 1e-3));
    return layer == layer_ ? output * 2 : output;
  }
  const std::vector<LayerIndex>& layers() const { return layers_; }

 private:
  const CausalLm& model_;
  const LayerIndex layer_;
  mutable std::vector<LayerIndex> layers_;
};

TEST(Gpt2Test, LogitsAreThoseOfTransformers) {
  ExpectGoldenLogits(*LoadDemo(), "tests/testdata/golden_logits_gpt2.json", 1e-4);
}

TEST(Gpt2Test, TheHookStandsBesideTheDownProjectionOfEveryBlock) {
  const auto model = LoadDemo();
  const DoublingHook hook(*model, LayerIndex(2));
  const std::vector<TokenId> tokens = {5, 17, 99, 1000};
  const at::Tensor hooked = FullForward(*model, tokens, &hook);
  ASSERT_EQ(hook.layers().size(), 6u);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(hook.layers()[i], LayerIndex(i));
  EXPECT_THAT(hooked,
              testing::Not(TensorRelativelyNear(FullForward(*model, tokens, nullptr), 1e-3)));
}

TEST(Gpt2Test, DownProjectionInputIsWhatTheHookSees) {
  const auto model = LoadDemo();
  ExpectDownProjectionInputIsWhatTheHookSees(*model, LayerIndex(0), {5, 17, 99, 1000});
}

TEST(Gpt2Test, DownProjectionIsOutByInThoughTheFileKeepsItInByOut) {
  const auto model = LoadDemo();
  const auto stored = Checkpoint::Open(kModel).value()->Read("transformer.h.1.mlp.c_proj.weight",
                                                             {1024, 256}, at::kFloat);
  ASSERT_THAT(stored, IsOk());
  EXPECT_THAT(model->DownProjection(LayerIndex(1)), TensorNear(stored->t(), 0.0));
}

TEST(Gpt2Test, AMissingTensorIsNamed) {
  ModelConfig config = ReadModelConfig(kModel).value();
  config.layers = 7;
  EXPECT_THAT(LoadGpt2(config, LoadOptions{}, *Checkpoint::Open(kModel).value()),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr(kModel), HasSubstr("transformer.h.6.ln_1.weight"))));
}

TEST(Gpt2Test, AWrongShapeNamesTheTensorAndBothShapes) {
  ModelConfig config = ReadModelConfig(kModel).value();
  config.intermediate_size = 1000;
  EXPECT_THAT(LoadGpt2(config, LoadOptions{}, *Checkpoint::Open(kModel).value()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("h.0.mlp.c_fc.weight"), HasSubstr("[256, 1024]"),
                             HasSubstr("[256, 1000]"))));
}

}  // namespace
}  // namespace amend
