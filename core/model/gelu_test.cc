#include "core/model/gelu.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>

#include <cmath>

#include "core/base/testing/tensor_matchers.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

TEST(GeluNewTest, IsTheTanhFormula) {
  const at::Tensor x = at::linspace(-4, 4, 33);
  const at::Tensor expected =
      0.5 * x * (1 + (std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)).tanh());
  EXPECT_THAT(GeluNew(x), TensorNear(expected, 1e-6));
}

TEST(GeluNewTest, IsLibTorchsOverTheWholeRange) {
  const at::Tensor x = at::cat({at::linspace(-12, 12, 100003), at::tensor({-1e4f, 0.0f, 1e4f})});
  EXPECT_THAT(GeluNew(x), TensorNear(at::gelu(x, "tanh"), 1e-6 * 12));
  EXPECT_THAT(GeluNew(x.narrow(0, 0, 3)), TensorNear(at::gelu(x.narrow(0, 0, 3), "tanh"), 1e-6));
}

TEST(GeluNewTest, TheSlopeIsLibTorchs) {
  const at::AutoGradMode enable_grad(true);
  const at::Tensor x = at::linspace(-12, 12, 10007);
  const at::Tensor ours = x.clone().requires_grad_(true);
  const at::Tensor theirs = x.clone().requires_grad_(true);
  const at::Tensor slope = at::linspace(1, 2, 10007);
  GeluNew(ours).backward(slope);
  at::gelu(theirs, "tanh").backward(slope);
  EXPECT_THAT(ours.grad(), TensorRelativelyNear(theirs.grad(), 2e-6));
}

TEST(GeluNewTest, ViewsThatAreNotContiguousWillDo) {
  const at::Tensor x = at::randn({6, 10}).t();
  EXPECT_THAT(GeluNew(x), TensorNear(at::gelu(x, "tanh"), 1e-6));
}

TEST(GeluNewTest, OtherDtypesStayWhatTheyAre) {
  const at::Tensor x = at::randn({5, 3}).to(at::kBFloat16);
  EXPECT_EQ(GeluNew(x).scalar_type(), at::kBFloat16);
}

}  // namespace
}  // namespace amend
