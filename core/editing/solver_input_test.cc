#include "core/editing/solver_input.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/ones.h>

#include <functional>
#include <limits>

#include "core/base/testing/status_matchers.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/editing/tensor_matrix.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

EditSettings GoodSettings() {
  EditSettings settings;
  settings.layers = {LayerIndex(0), LayerIndex(2)};
  settings.context_templates = {"I saw it. {}"};
  return settings;
}

ModelConfig FourLayers() {
  ModelConfig config;
  config.layers = 4;
  return config;
}

TEST(CheckSettingsTest, GoodSettingsPass) {
  EXPECT_THAT(CheckSettings(GoodSettings(), FourLayers()), IsOk());
}

TEST(CheckSettingsTest, WhatIsWrongIsNamedWithItsValue) {
  const struct {
    std::function<void(EditSettings*)> change;
    const char* message;
  } cases[] = {
      {[](EditSettings* s) { s->layers.clear(); }, "no edited layers"},
      {[](EditSettings* s) { s->layers = {LayerIndex(4)}; }, "edited layer 4: the model has 4"},
      {[](EditSettings* s) {
         s->layers = {LayerIndex(2), LayerIndex(1)};
       },
       "1 follows 2"},
      {[](EditSettings* s) { s->loss_layer = 1; }, "loss layer 1"},
      {[](EditSettings* s) { s->lambda = 0; }, "lambda 0"},
      {[](EditSettings* s) { s->beta = 1; }, "beta 1"},
      {[](EditSettings* s) { s->steps = 0; }, "steps 0"},
      {[](EditSettings* s) { s->clamp = 0; }, "clamp 0"},
      {[](EditSettings* s) { s->context_templates = {"no place"}; }, "\"no place\""},
      {[](EditSettings* s) {
         s->scope = EditScope::kReference;
         s->alpha = std::numeric_limits<double>::quiet_NaN();
       },
       "alpha nan"},
  };
  for (const auto& c : cases) {
    EditSettings settings = GoodSettings();
    c.change(&settings);
    EXPECT_THAT(CheckSettings(settings, FourLayers()), StatusIs(kInvalid, HasSubstr(c.message)));
  }
}

class BackgroundTest : public testing::Test {
 protected:
  KeyCovariance Covariance(const std::vector<int>& layers, int64_t size) const {
    KeyCovariance covariance;
    for (const int layer : layers) {
      covariance.layers.push_back(
          {LayerIndex(layer), ToMatrix((layer + 1) * at::eye(size, at::kFloat))});
    }
    return covariance;
  }

  const RandomModelShape shape_;
  const std::shared_ptr<const CausalLm> model_ = RandomGpt2(shape_, 1);
};

TEST_F(BackgroundTest, FactorsAreThoseOfLambdaTimesTheCovarianceOfEachEditedLayer) {
  EditSettings settings = GoodSettings();
  settings.lambda = 3;
  AMEND_ASSERT_OK_AND_ASSIGN(
      const BackgroundFactors factors,
      FactorCovariance(model_->config(), settings, Covariance({0, 1, 2}, shape_.intermediate())));
  AMEND_ASSERT_OK_AND_ASSIGN(const BackgroundFactors placed,
                             FactorsFor(*model_, settings, factors));
  ASSERT_EQ(placed.size(), 2u);
  // Of 9 I.
  const at::Tensor row = at::ones({1, shape_.intermediate()}, at::kDouble);
  EXPECT_THAT(placed.at(LayerIndex(2))->Multiply(row), TensorNear(3 * row, 1e-12));
}

TEST_F(BackgroundTest, ACovarianceOfAnotherSizeIsNamedWithBothSizes) {
  EXPECT_THAT(FactorCovariance(model_->config(), GoodSettings(), Covariance({0, 2}, 3)),
              StatusIs(kInvalid, AllOf(HasSubstr("layer 0 is [3, 3]"), HasSubstr("64"))));
}

TEST_F(BackgroundTest, FactorsThatAreMissingOrTooSmallAreNamed) {
  EXPECT_THAT(FactorsFor(*model_, GoodSettings(), {}),
              StatusIs(kInvalid, HasSubstr("lacks edited layer 0")));
  ModelConfig other = model_->config();
  other.intermediate_size = 3;
  AMEND_ASSERT_OK_AND_ASSIGN(const BackgroundFactors small,
                             FactorCovariance(other, GoodSettings(), Covariance({0, 2}, 3)));
  EXPECT_THAT(FactorsFor(*model_, GoodSettings(), small),
              StatusIs(kInvalid, AllOf(HasSubstr("layer 0 is [3, 3]"), HasSubstr("64"))));
}

class CheckedRowsTest : public testing::Test {
 protected:
  const std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::FromDirectory("models/demo").value();
};

TEST_F(CheckedRowsTest, HoldEveryEditInEveryTemplate) {
  Edit edit;
  edit.prompt = "Makurdi is a city in";
  edit.subject = "Makurdi";
  edit.target_new = "Vietnam";
  AMEND_ASSERT_OK_AND_ASSIGN(const auto rows,
                             CheckedRows(*tokenizer_, GoodSettings(), 256, {edit}));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].prompts.size(), 2u);
}

TEST_F(CheckedRowsTest, AViolationIsNamedWithItsEditAndField) {
  Edit edit;
  edit.prompt = "Makurdi is a city in";
  edit.subject = "Kano";
  edit.target_new = "Vietnam";
  EXPECT_THAT(CheckedRows(*tokenizer_, GoodSettings(), 256, {edit}),
              StatusIs(kInvalid, HasSubstr("edits[0].subject")));
  EXPECT_THAT(CheckedRows(*tokenizer_, GoodSettings(), 256, {}),
              StatusIs(kInvalid, HasSubstr("at least one edit")));
}

}  // namespace
}  // namespace amend
