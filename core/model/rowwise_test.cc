#include "core/model/rowwise.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>

#include <random>

#include "core/base/testing/tensor_matchers.h"
#include "core/model/gelu.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

// A sum of `in` products against LibTorch's, relative to the largest of the result.
constexpr double kFloat32Tolerance = 2e-6;
// Half of bfloat16's last place, once here and up to three times in LibTorch's operations.
constexpr double kBFloat16Tolerance = 1.5e-2;

constexpr int64_t kMostRows = 150;

constexpr Activation kActivations[] = {Activation::kNone, Activation::kGeluNew, Activation::kGelu};

class RowwiseTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  RowwiseTest()
      : seed_(std::random_device()()),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_),
        random_(seed_),
        threads_(at::get_num_threads()) {
    at::manual_seed(seed_);
  }
  ~RowwiseTest() override { at::set_num_threads(threads_); }

  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % bound); }
  at::Tensor Random(at::IntArrayRef shape) { return at::randn(shape).to(GetParam()); }
  double Tolerance() const {
    return GetParam() == at::kFloat ? kFloat32Tolerance : kBFloat16Tolerance;
  }

  const uint32_t seed_;
  const testing::ScopedTrace trace_;
  std::mt19937 random_;
  const int threads_;
};

INSTANTIATE_TEST_SUITE_P(Dtypes, RowwiseTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(at::toString(info.param)); });

TEST_P(RowwiseTest, ProductsAreLibTorchsWithAnyEnd) {
  for (int i = 0; i < 60; ++i) {
    const int64_t rows = 1 + Below(kMostRows), out = 1 + Below(700);
    const int64_t in = i % 2 == 0 ? 32 * (1 + Below(20)) : 1 + Below(700);
    const at::Tensor x = Random({rows, in});
    const at::Tensor weight = Random({out, in});
    ProductEnd end;
    if (Below(2) == 0) end.bias = Random({out});
    if (Below(2) == 0) end.addend = Random({rows, out});
    end.activation = kActivations[Below(3)];
    end.float32 = Below(2) == 0;
    at::Tensor expected = at::linear(x.to(at::kFloat), weight.to(at::kFloat));
    if (end.bias.defined()) expected = expected + end.bias;
    if (end.activation == Activation::kGeluNew) expected = GeluNew(expected);
    if (end.activation == Activation::kGelu) expected = at::gelu(expected);
    if (end.addend.defined()) expected = expected + end.addend;
    const at::Tensor y = RowwiseProduct(x, weight, end);
    EXPECT_EQ(y.scalar_type(), end.float32 ? at::kFloat : GetParam());
    ASSERT_THAT(y, TensorRelativelyNear(expected, Tolerance()))
        << rows << "x" << out << ", in " << in;
  }
}

TEST_P(RowwiseTest, ARowIsTheSameAloneAndAmongOthersAndOnMoreThreads) {
  for (int i = 0; i < 10; ++i) {
    const int64_t rows = 2 + Below(kMostRows - 1), out = 500 + Below(700),
                  in = 32 * (1 + Below(40));
    const at::Tensor x = Random({rows, in});
    const at::Tensor weight = Random({out, in});
    const at::Tensor bias = Random({out});
    const at::Tensor norm = Random({in});
    at::set_num_threads(2);
    const at::Tensor all = RowwiseProduct(x, weight, {bias, Activation::kGelu});
    const at::Tensor normed = RowwiseLayerNorm(x, norm, norm, 1e-5);
    const at::Tensor rms_normed = RowwiseRmsNorm(x, norm, 1e-5);
    const at::Tensor gated = RowwiseSiluGate(x);
    at::set_num_threads(1);
    for (int64_t t = 0; t < rows; ++t) {
      const at::Tensor row = x.narrow(0, t, 1);
      ASSERT_TRUE(
          RowwiseProduct(row, weight, {bias, Activation::kGelu}).equal(all.narrow(0, t, 1)));
      ASSERT_TRUE(RowwiseLayerNorm(row, norm, norm, 1e-5).equal(normed.narrow(0, t, 1)));
      ASSERT_TRUE(RowwiseRmsNorm(row, norm, 1e-5).equal(rms_normed.narrow(0, t, 1)));
      ASSERT_TRUE(RowwiseSiluGate(row).equal(gated.narrow(0, t, 1)));
    }
  }
}

TEST_P(RowwiseTest, RowsMayLieApart) {
  const at::Tensor x = Random({4, 96}).narrow(1, 32, 32);
  const at::Tensor addend = Random({4, 20}).narrow(1, 3, 10);
  const at::Tensor weight = Random({10, 32});
  EXPECT_TRUE(RowwiseProduct(x, weight, {{}, Activation::kNone, addend})
                  .equal(RowwiseProduct(x.contiguous(), weight,
                                        {{}, Activation::kNone, addend.contiguous()})));
  const at::Tensor norm = Random({32});
  EXPECT_TRUE(RowwiseLayerNorm(x, norm, norm, 1e-5)
                  .equal(RowwiseLayerNorm(x.contiguous(), norm, norm, 1e-5)));
}

TEST_P(RowwiseTest, LayerNormIsLibTorchs) {
  for (int i = 0; i < 20; ++i) {
    const int64_t rows = 1 + Below(kMostRows), d = 2 + Below(900);
    const at::Tensor x = Random({rows, d}) + 3;
    const at::Tensor weight = Random({d}), bias = Random({d});
    const at::Tensor expected =
        at::layer_norm(x.to(at::kFloat), {d}, weight.to(at::kFloat), bias.to(at::kFloat), 1e-5);
    const double tolerance = GetParam() == at::kFloat ? 1e-5 : kBFloat16Tolerance;
    EXPECT_THAT(RowwiseLayerNorm(x, weight, bias, 1e-5), TensorRelativelyNear(expected, tolerance));
  }
}

TEST_P(RowwiseTest, RmsNormDividesByTheRootOfTheMeanSquare) {
  for (int i = 0; i < 20; ++i) {
    const int64_t rows = 1 + Below(kMostRows), d = 2 + Below(900);
    const at::Tensor x = Random({rows, d}) + 3;
    const at::Tensor weight = Random({d});
    const at::Tensor wide = x.to(at::kFloat);
    const at::Tensor expected =
        wide / (wide.square().mean({-1}, true) + 1e-2).sqrt() * weight.to(at::kFloat);
    const double tolerance = GetParam() == at::kFloat ? 1e-5 : kBFloat16Tolerance;
    EXPECT_THAT(RowwiseRmsNorm(x, weight, 1e-2), TensorRelativelyNear(expected, tolerance));
  }
}

TEST_P(RowwiseTest, ASiluGateIsLibTorchs) {
  for (int i = 0; i < 20; ++i) {
    const int64_t rows = 1 + Below(kMostRows), m = 1 + Below(900);
    const at::Tensor x = 4 * Random({rows, 2 * m});
    const at::Tensor wide = x.to(at::kFloat);
    EXPECT_THAT(
        RowwiseSiluGate(x),
        TensorRelativelyNear(at::silu(wide.narrow(1, 0, m)) * wide.narrow(1, m, m), Tolerance()));
  }
}

TEST_P(RowwiseTest, GatesFarFromZeroStayFinite) {
  const at::Tensor gates = at::tensor({-1e4f, -200.0f, 200.0f, 1e4f}).view({1, 4});
  const at::Tensor x = at::cat({gates, at::ones({1, 4})}, 1).to(GetParam());
  EXPECT_THAT(RowwiseSiluGate(x), TensorNear(gates.clamp_min(0).to(GetParam()), 1e-30));
}

TEST_P(RowwiseTest, RowsThatGradientsAreTakenOfAreNotForThese) {
  const at::Tensor x = Random({3, 8});
  EXPECT_TRUE(IsRowwise(x));
  EXPECT_FALSE(IsRowwise(Random({0, 8})));
  EXPECT_FALSE(IsRowwise(x.to(at::kDouble)));
  const at::AutoGradMode enable_grad(true);
  EXPECT_FALSE(IsRowwise(x.clone().requires_grad_(true)));
}

}  // namespace
}  // namespace amend
