#include "core/model/layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>

#include "core/base/testing/status_matchers.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/model/testing/model_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

at::Tensor Numbers(int64_t rows, int64_t cols) {
  return at::arange(rows * cols, at::kFloat).view({rows, cols});
}

std::unique_ptr<Checkpoint> CheckpointOf(const std::map<std::string, at::Tensor>& tensors) {
  const std::string directory = FreshDirectory("weights");
  EXPECT_THAT(WriteSafetensors(tensors, directory + "/model.safetensors"), IsOk());
  return Checkpoint::Open(directory).value();
}

TEST(LayersTest, LinearIsTheProductPlusTheBias) {
  const at::Tensor x = Numbers(2, 3);
  const at::Tensor weight = Numbers(4, 3);
  const at::Tensor bias = at::tensor({1.0f, 2.0f, 3.0f, 4.0f});
  EXPECT_THAT((Linear{weight, bias}(x)), TensorNear(at::matmul(x, weight.t()) + bias, 1e-5));
  EXPECT_THAT((Linear{weight, {}}(x)), TensorNear(at::matmul(x, weight.t()), 1e-5));
}

TEST(LayersTest, LayerNormHasMeanBiasAndDeviationWeight) {
  const LayerNorm1d norm{at::tensor({2.0f, 2.0f, 2.0f}), at::tensor({1.0f, 1.0f, 1.0f}), 1e-12};
  const float s = std::sqrt(1.5f);  // 1 over the deviation of {1, 2, 3}
  EXPECT_THAT(norm(at::tensor({1.0f, 2.0f, 3.0f}).view({1, 3})),
              TensorNear(at::tensor({1 - 2 * s, 1.0f, 1 + 2 * s}).view({1, 3}), 1e-5));
}

TEST(LayersTest, LayerNormUsesItsEpsilon) {
  const LayerNorm1d norm{at::tensor({1.0f, 1.0f}), at::tensor({0.0f, 0.0f}), 3.0};
  // Variance 1 plus 3: deviation 2.
  EXPECT_THAT(norm(at::tensor({-1.0f, 1.0f}).view({1, 2})),
              TensorNear(at::tensor({-0.5f, 0.5f}).view({1, 2}), 1e-6));
}

TEST(WeightReaderTest, BothLayoutsGiveTheSameProjection) {
  const at::Tensor weight = Numbers(4, 3);
  const auto checkpoint =
      CheckpointOf({{"out_in.weight", weight}, {"in_out.weight", weight.t().contiguous()}});
  const WeightReader reader(*checkpoint, LoadOptions{});
  AMEND_ASSERT_OK_AND_ASSIGN(const Linear a,
                             reader.ReadLinear("out_in", 3, 4, ProjectionLayout::kOutIn, false));
  AMEND_ASSERT_OK_AND_ASSIGN(const Linear b,
                             reader.ReadLinear("in_out", 3, 4, ProjectionLayout::kInOut, false));
  EXPECT_THAT(a.weight, TensorNear(weight, 0));
  EXPECT_THAT(b.weight, TensorNear(weight, 0));
  EXPECT_TRUE(b.weight.is_contiguous());
  EXPECT_FALSE(a.bias.defined());
}

TEST(WeightReaderTest, ABiasThatIsAskedForMustBeThere) {
  const auto checkpoint = CheckpointOf({{"p.weight", Numbers(4, 3)}});
  const WeightReader reader(*checkpoint, LoadOptions{});
  EXPECT_THAT(reader.ReadLinear("p", 3, 4, ProjectionLayout::kOutIn).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("p.bias")));
}

TEST(WeightReaderTest, AnotherShapeNamesTensorAndBothShapes) {
  const auto checkpoint = CheckpointOf({{"p.weight", Numbers(4, 3)}});
  const WeightReader reader(*checkpoint, LoadOptions{});
  EXPECT_THAT(reader.ReadLinear("p", 3, 4, ProjectionLayout::kInOut).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("p.weight"), HasSubstr("[4, 3]"), HasSubstr("[3, 4]"))));
}

TEST(WeightReaderTest, LayerNormTakesWeightBiasAndEpsilon) {
  const auto checkpoint =
      CheckpointOf({{"n.weight", at::tensor({1.0f, 2.0f})}, {"n.bias", at::tensor({3.0f, 4.0f})}});
  const WeightReader reader(*checkpoint, LoadOptions{});
  AMEND_ASSERT_OK_AND_ASSIGN(const LayerNorm1d norm, reader.ReadLayerNorm("n", 2, 0.25));
  EXPECT_THAT(norm.weight, TensorNear(at::tensor({1.0, 2.0}), 0));
  EXPECT_THAT(norm.bias, TensorNear(at::tensor({3.0, 4.0}), 0));
  EXPECT_EQ(norm.epsilon, 0.25);
}

TEST(WeightReaderTest, WeightsComeInTheDtypeOfTheOptions) {
  const auto checkpoint = CheckpointOf({{"x", Numbers(1, 2)}});
  LoadOptions options;
  options.dtype = Dtype::kBFloat16;
  EXPECT_EQ(WeightReader(*checkpoint, options).Read("x", {1, 2})->scalar_type(), at::kBFloat16);
}

}  // namespace
}  // namespace amend
