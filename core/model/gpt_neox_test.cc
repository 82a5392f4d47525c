#include "core/model/gpt_neox.h"

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
  return LoadGptNeox(config, LoadOptions{}, *Checkpoint::Open(absl::StrCat(kFolder, name)).value());
}

ModelConfig ConfigOf(const std::string& name) {
  return ReadModelConfig(absl::StrCat(kFolder, name)).value();
}

class GptNeoxTest : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Models, GptNeoxTest, testing::Values("gpt-neox", "gpt-neox-sequential"),
                         [](const auto& info) {
                           return info.index == 0 ? "parallel" : "sequential";
                         });

TEST_P(GptNeoxTest, LogitsAreThoseOfTransformers) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadTiny(GetParam(), ConfigOf(GetParam())));
  ExpectGoldenLogits(*model, absl::StrCat(kFolder, GetParam(), "/golden_logits.json"), 1e-5);
}

TEST_P(GptNeoxTest, DownProjectionInputIsWhatTheHookSees) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadTiny(GetParam(), ConfigOf(GetParam())));
  ExpectDownProjectionInputIsWhatTheHookSees(*model, LayerIndex(1), {3, 1, 4, 1, 5});
}

TEST_P(GptNeoxTest, DownProjectionIsOutByInAsTheFileKeepsIt) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadTiny(GetParam(), ConfigOf(GetParam())));
  const StoredProjection stored = model->StoredDownProjection(LayerIndex(1));
  EXPECT_EQ(stored.tensor, "gpt_neox.layers.1.mlp.dense_4h_to_h.weight");
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor weight,
                             Checkpoint::Open(absl::StrCat(kFolder, GetParam()))
                                 .value()
                                 ->Read(stored.tensor, {32, 128}, at::kFloat));
  EXPECT_THAT(model->DownProjection(LayerIndex(1)), TensorNear(weight, 0.0));
}

TEST(GptNeoxErrorTest, AMissingTensorIsNamed) {
  ModelConfig config = ConfigOf("gpt-neox");
  config.layers = 4;
  EXPECT_THAT(LoadTiny("gpt-neox", config),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("architectures/gpt-neox"),
                             HasSubstr("gpt_neox.layers.3.input_layernorm.weight"))));
}

TEST(GptNeoxErrorTest, AWrongShapeNamesTheTensorAndBothShapes) {
  ModelConfig config = ConfigOf("gpt-neox");
  config.intermediate_size = 64;
  EXPECT_THAT(LoadTiny("gpt-neox", config),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("gpt_neox.layers.0.mlp.dense_h_to_4h.weight"),
                             HasSubstr("[128, 32]"), HasSubstr("[64, 32]"))));
}

TEST(GptNeoxErrorTest, AHeadThatIsTiedNeedsNoMatrixOfItsOwn) {
  ModelConfig config = ConfigOf("gpt-neox");
  const auto untied = LoadTiny("gpt-neox", config).value();
  config.tied_head = true;
  const auto tied = LoadTiny("gpt-neox", config).value();
  EXPECT_EQ(untied->ParameterCount() - tied->ParameterCount(), 384 * 32);
}

}  // namespace
}  // namespace amend
