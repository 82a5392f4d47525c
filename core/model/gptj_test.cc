#include "core/model/gptj.h"

#include <ATen/core/Tensor.h>

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

constexpr char kModel[] = "tests/testdata/random-gptj-tiny";

absl::StatusOr<std::shared_ptr<const CausalLm>> LoadTiny(const ModelConfig& config) {
  return LoadGptj(config, LoadOptions{}, *Checkpoint::Open(kModel).value());
}

TEST(GptjTest, LogitsAreThoseOfTransformers) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadTiny(ReadModelConfig(kModel).value()));
  ExpectGoldenLogits(*model, "tests/testdata/golden_logits_gptj.json", 1e-4);
}

TEST(GptjTest, EveryDimensionOfAHeadMayBeRotated) {
  ModelConfig config = ReadModelConfig(kModel).value();
  const std::vector<TokenId> tokens = {3, 1, 4, 1, 5};
  const at::Tensor partly = FullForward(*LoadTiny(config).value(), tokens, nullptr);
  config.rotary_dim = config.head_dim;
  const at::Tensor wholly = FullForward(*LoadTiny(config).value(), tokens, nullptr);
  // Position 0 is not turned at all.
  EXPECT_THAT(wholly[0], TensorRelativelyNear(partly[0], 1e-5));
  EXPECT_THAT(wholly[4], testing::Not(TensorRelativelyNear(partly[4], 1e-3)));
}

TEST(GptjTest, DownProjectionInputIsWhatTheHookSees) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadTiny(ReadModelConfig(kModel).value()));
  ExpectDownProjectionInputIsWhatTheHookSees(*model, LayerIndex(1), {3, 1, 4, 1, 5});
}

TEST(GptjTest, DownProjectionIsOutByInAsTheFileKeepsIt) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadTiny(ReadModelConfig(kModel).value()));
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor stored,
                             Checkpoint::Open(kModel).value()->Read(
                                 "transformer.h.3.mlp.fc_out.weight", {64, 256}, at::kFloat));
  EXPECT_THAT(model->DownProjection(LayerIndex(3)), TensorNear(stored, 0.0));
}

TEST(GptjTest, AMissingTensorIsNamed) {
  ModelConfig config = ReadModelConfig(kModel).value();
  config.layers = 5;
  EXPECT_THAT(LoadTiny(config),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr(kModel), HasSubstr("transformer.h.4.ln_1.weight"))));
}

TEST(GptjTest, AWrongShapeNamesTheTensorAndBothShapes) {
  ModelConfig config = ReadModelConfig(kModel).value();
  config.vocabulary_size = 6000;
  EXPECT_THAT(LoadTiny(config), StatusIs(absl::StatusCode::kInvalidArgument,
                                         AllOf(HasSubstr("wte.weight"), HasSubstr("[6144, 64]"),
                                               HasSubstr("[6000, 64]"))));
}

}  // namespace
}  // namespace amend
