#include "core/model/packed_weight.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>

#include "core/base/testing/tensor_matchers.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr int64_t kRows = 37;
constexpr int64_t kIn = 24;
constexpr int64_t kOut = 56;

class PackedWeightTest : public testing::Test {
 protected:
  void SetUp() override { at::manual_seed(5); }

  const at::Tensor weight_ = at::randn({kOut, kIn});
  const at::Tensor bias_ = at::randn({kOut});
  const at::Tensor x_ = at::randn({kRows, kIn});
};

TEST_F(PackedWeightTest, TheProductIsLinears) {
  const auto packed = PackedWeight::Pack(weight_, Dtype::kFloat32, kRows);
  EXPECT_THAT((*packed)(x_, bias_), TensorRelativelyNear(at::linear(x_, weight_, bias_), 1e-6));
  EXPECT_THAT((*packed)(x_, at::Tensor()), TensorRelativelyNear(at::linear(x_, weight_), 1e-6));
}

TEST_F(PackedWeightTest, AnyNumberOfRowsWillDo) {
  const auto packed = PackedWeight::Pack(weight_, Dtype::kFloat32, kRows);
  for (const int64_t rows : {1, 2, 300}) {
    const at::Tensor x = at::randn({rows, kIn});
    EXPECT_THAT((*packed)(x, bias_), TensorRelativelyNear(at::linear(x, weight_, bias_), 1e-6));
  }
}

TEST_F(PackedWeightTest, TheGradientIsLinears) {
  const at::AutoGradMode enable_grad(true);
  const auto packed = PackedWeight::Pack(weight_, Dtype::kFloat32, kRows);
  const at::Tensor slope = at::randn({kRows, kOut});
  const at::Tensor ours = x_.clone().requires_grad_(true);
  const at::Tensor theirs = x_.clone().requires_grad_(true);
  (*packed)(ours, bias_).backward(slope);
  at::linear(theirs, weight_, bias_).backward(slope);
  EXPECT_THAT(ours.grad(), TensorRelativelyNear(theirs.grad(), 1e-6));
}

TEST_F(PackedWeightTest, BFloat16RoundsTheFactorsAndGivesFloat32) {
  const at::AutoGradMode enable_grad(true);
  const auto packed = PackedWeight::Pack(weight_, Dtype::kBFloat16, kRows);
  const at::Tensor slope = at::randn({kRows, kOut});
  const at::Tensor x = x_.clone().requires_grad_(true);
  const at::Tensor y = (*packed)(x, bias_);
  y.backward(slope);
  EXPECT_EQ(y.scalar_type(), at::kFloat);
  EXPECT_THAT(y.detach(), TensorRelativelyNear(at::linear(x_, weight_, bias_), 1e-2));
  EXPECT_THAT(x.grad(), TensorRelativelyNear(at::linear(slope, weight_.t()), 1e-2));
}

}  // namespace
}  // namespace amend
