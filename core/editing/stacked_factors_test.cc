#include "core/editing/stacked_factors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "core/editing/testing/random_model.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr int64_t kEdits = 5;
constexpr int64_t kIn = 12;
constexpr int64_t kOut = 7;
constexpr int64_t kTokens = 9;

StackedFactors SomeFactors() {
  StackedFactors factors;
  factors.u = RandomTensor({kEdits, kOut}, 1);
  factors.v = RandomTensor({kEdits, kIn}, 2);
  return factors;
}

class StackedFactorsTest : public testing::Test {
 protected:
  const at::Tensor input_ = RandomTensor({kTokens, kIn}, 3);
  const at::Tensor output_ = RandomTensor({kTokens, kOut}, 4);
};

TEST_F(StackedFactorsTest, WithoutFactorsTheOutputItselfIsReturned) {
  const AppliedFactors applied = ApplyFactors(StackedFactors(), input_, output_);
  EXPECT_TRUE(applied.output.is_same(output_));
}

TEST_F(StackedFactorsTest, WithoutAScopeTheWholeUpdateIsAddedEverywhere) {
  const StackedFactors factors = SomeFactors();
  const AppliedFactors applied = ApplyFactors(factors, input_, output_);
  const at::Tensor dense = at::matmul(factors.u.t(), factors.v);
  EXPECT_LT(RelativeDifference(applied.output, output_ + at::matmul(input_, dense.t())), 1e-6);
  EXPECT_FALSE(applied.fired.defined());
}

TEST_F(StackedFactorsTest, WithAScopeOnlyEditsThatReachTheirThresholdAreAdded) {
  StackedFactors factors = SomeFactors();
  factors.threshold = at::ones({kEdits});
  const AppliedFactors applied = ApplyFactors(factors, input_, output_);
  at::Tensor expected = output_.clone();
  int fired = 0;
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t b = 0; b < kEdits; ++b) {
      const at::Tensor c = (factors.v[b] * input_[t]).sum();
      const bool fires = c.item<float>() >= 1;
      EXPECT_EQ(applied.fired[t][b].item<bool>(), fires);
      if (!fires) continue;
      ++fired;
      expected[t] += c * factors.u[b];
    }
  }
  ASSERT_GT(fired, 0);
  ASSERT_LT(fired, kTokens * kEdits);
  EXPECT_LT(RelativeDifference(applied.output, expected), 1e-6);
}

TEST_F(StackedFactorsTest, AnActivationEqualToTheThresholdFires) {
  StackedFactors factors;
  factors.u = at::ones({1, 2});
  factors.v = at::ones({1, 2});
  factors.threshold = at::ones({1}) * 2;
  const AppliedFactors applied = ApplyFactors(factors, at::ones({1, 2}), at::zeros({1, 2}));
  EXPECT_TRUE(applied.fired.item<bool>());
}

TEST_F(StackedFactorsTest, WhenNothingFiresTheOutputItselfIsReturned) {
  StackedFactors factors = SomeFactors();
  factors.threshold = at::ones({kEdits}) * 1e6;
  const AppliedFactors applied = ApplyFactors(factors, input_, output_);
  EXPECT_TRUE(applied.output.is_same(output_));
  EXPECT_FALSE(applied.fired.any().item<bool>());
}

TEST_F(StackedFactorsTest, TheGivenOutputStaysAsItIs) {
  const at::Tensor before = output_.clone();
  ApplyFactors(SomeFactors(), input_, output_);
  EXPECT_TRUE(output_.equal(before));
}

TEST_F(StackedFactorsTest, TheResultHasTheTypeOfTheOutput) {
  const AppliedFactors applied =
      ApplyFactors(SomeFactors(), input_.to(at::kBFloat16), output_.to(at::kBFloat16));
  EXPECT_EQ(applied.output.scalar_type(), at::kBFloat16);
  EXPECT_EQ(applied.activation.scalar_type(), at::kFloat);
}

TEST_F(StackedFactorsTest, ConcatenateKeepsTheOrderAndTheThresholds) {
  StackedFactors a = SomeFactors();
  a.threshold = at::ones({kEdits});
  StackedFactors b = a;
  b.u = a.u * 2;
  b.threshold = a.threshold * 3;
  const StackedFactors both = Concatenate(a, b);
  EXPECT_TRUE(both.u.narrow(0, 0, kEdits).equal(a.u));
  EXPECT_TRUE(both.u.narrow(0, kEdits, kEdits).equal(b.u));
  EXPECT_TRUE(both.threshold.narrow(0, kEdits, kEdits).equal(b.threshold));
}

TEST_F(StackedFactorsTest, ConcatenateWithNothingIsTheOther) {
  const StackedFactors a = SomeFactors();
  EXPECT_TRUE(Concatenate(a, StackedFactors()).u.is_same(a.u));
  EXPECT_TRUE(Concatenate(StackedFactors(), a).v.is_same(a.v));
  EXPECT_TRUE(Concatenate(StackedFactors(), StackedFactors()).empty());
}

TEST_F(StackedFactorsTest, NormIsThatOfTheDenseUpdate) {
  const StackedFactors factors = SomeFactors();
  const double dense = at::matmul(factors.u.t(), factors.v).norm().item<double>();
  EXPECT_NEAR(UpdateNorm(factors), dense, 1e-5 * dense);
  EXPECT_EQ(UpdateNorm(StackedFactors()), 0);
}

// Few and many edits: the product is formed in two ways.
TEST_F(StackedFactorsTest, ProductIsThatOfTheDenseUpdates) {
  for (const int64_t edits : {2, 3, 4, 60, 1300}) {
    StackedFactors a = SomeFactors();
    StackedFactors b;
    b.u = RandomTensor({edits, kOut}, 11);
    b.v = RandomTensor({edits, kIn}, 12);
    const auto dense = [](const StackedFactors& factors) {
      return at::matmul(factors.u.t().to(at::kDouble), factors.v.to(at::kDouble));
    };
    const double expected = (dense(a) * dense(b)).sum().item<double>();
    EXPECT_NEAR(UpdateProduct(a, b), expected, 1e-10 * std::abs(expected)) << edits;
    EXPECT_NEAR(UpdateProduct(b, a), expected, 1e-10 * std::abs(expected)) << edits;
  }
  EXPECT_EQ(UpdateProduct(StackedFactors(), SomeFactors()), 0);
}

TEST_F(StackedFactorsTest, NormOfEditsThatCancelIsZero) {
  StackedFactors factors = SomeFactors();
  StackedFactors opposite = factors;
  opposite.u = -factors.u;
  EXPECT_NEAR(UpdateNorm(Concatenate(factors, opposite)), 0, 1e-6);
}

}  // namespace
}  // namespace amend
