#include "core/model/llama.h"

#include <ATen/core/Tensor.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/model/checkpoint.h"
#include "core/model/testing/down_projection_input.h"
#include "core/model/testing/golden_logits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kFolder[] = "tests/testdata/architectures/";

absl::StatusOr<std::shared_ptr<const CausalLm>> LoadTiny(const std::string& name,
                                                         const ModelConfig& config) {
  return LoadLlama(config, LoadOptions{}, *Checkpoint::Open(absl::StrCat(kFolder, name)).value());
}

ModelConfig ConfigOf(const std::string& name) {
  return ReadModelConfig(absl::StrCat(kFolder, name)).value();
}

class LlamaTest : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Models, LlamaTest,
                         testing::Values("llama", "llama-biased", "mistral", "qwen2"),
                         [](const auto& info) {
                           return info.param == "llama-biased" ? "llama_biased" : info.param;
                         });

TEST_P(LlamaTest, LogitsAreThoseOfTransformers) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadTiny(GetParam(), ConfigOf(GetParam())));
  ExpectGoldenLogits(*model, absl::StrCat(kFolder, GetParam(), "/golden_logits.json"), 1e-5);
}

TEST_P(LlamaTest, DownProjectionInputIsWhatTheHookSees) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadTiny(GetParam(), ConfigOf(GetParam())));
  ExpectDownProjectionInputIsWhatTheHookSees(*model, LayerIndex(1), {3, 1, 4, 1, 5});
}

TEST_P(LlamaTest, DownProjectionIsOutByInAsTheFileKeepsIt) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadTiny(GetParam(), ConfigOf(GetParam())));
  const StoredProjection stored = model->StoredDownProjection(LayerIndex(1));
  EXPECT_EQ(stored.tensor, "model.layers.1.mlp.down_proj.weight");
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor weight,
                             Checkpoint::Open(absl::StrCat(kFolder, GetParam()))
                                 .value()
                                 ->Read(stored.tensor, {32, 128}, at::kFloat));
  EXPECT_THAT(model->DownProjection(LayerIndex(1)), TensorNear(weight, 0.0));
}

TEST(LlamaConfigTest, ASlidingWindowBoundsTheContext) {
  EXPECT_EQ(ConfigOf("mistral").context_length, 96);
  EXPECT_EQ(ConfigOf("qwen2").context_length, 160);
}

TEST(LlamaErrorTest, AMissingTensorIsNamed) {
  ModelConfig config = ConfigOf("llama");
  config.layers = 4;
  EXPECT_THAT(LoadTiny("llama", config),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("architectures/llama"),
                             HasSubstr("model.layers.3.input_layernorm.weight"))));
  config = ConfigOf("qwen2");
  config.tied_head = false;
  EXPECT_THAT(LoadTiny("qwen2", config),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("lm_head.weight")));
}

TEST(LlamaErrorTest, AWrongShapeNamesTheTensorAndBothShapes) {
  ModelConfig config = ConfigOf("llama");
  config.kv_heads = 4;
  EXPECT_THAT(LoadTiny("llama", config),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("model.layers.0.self_attn.k_proj.weight"),
                             HasSubstr("[16, 32]"), HasSubstr("[32, 32]"))));
}

}  // namespace
}  // namespace amend
