#include "core/editing/reference_scope.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "core/base/testing/tensor_matchers.h"
#include "core/editing/testing/random_model.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

// The update is the identity and tokens lie on the first axis: the update moves each token by what
// it is.
const at::Tensor& Identity() {
  static const at::Tensor* const identity = new at::Tensor(at::eye(3, at::kFloat));
  return *identity;
}
at::Tensor Tokens(const std::vector<float>& moved_by) {
  at::Tensor tokens = at::zeros({static_cast<int64_t>(moved_by.size()), 3});
  tokens.select(1, 0).copy_(at::tensor(moved_by));
  return tokens;
}

TEST(RowScoresTest, AreInStandardDeviationsWithOneDegreeOfFreedomLess) {
  // Mean 2, deviation sqrt(((-1)^2 + 0 + 1^2) / 2) = 1.
  EXPECT_THAT(RowScores(Identity(), Tokens({1, 2, 3}), {3}),
              TensorNear(at::tensor({-1.f, 0.f, 1.f}), 1e-6));
}

TEST(RowScoresTest, EachRowIsMeasuredByItself) {
  EXPECT_THAT(RowScores(Identity(), Tokens({1, 2, 3, 50, 50, 80, 80}), {3, 4}),
              TensorNear(at::cat({RowScores(Identity(), Tokens({1, 2, 3}), {3}),
                                  RowScores(Identity(), Tokens({50, 50, 80, 80}), {4})},
                                 0),
                         1e-6));
}

TEST(RowScoresTest, TokensThatTheUpdateLeavesAloneCount) {
  const at::Tensor alone = RowScores(Identity(), Tokens({1, 5}), {2});
  const at::Tensor padded = RowScores(Identity(), Tokens({1, 5, 0, 0, 0, 0}), {6});
  EXPECT_NEAR(alone[1].item<float>(), 0.7071, 1e-4);
  // The largest score that n tokens allow is (n - 1) / sqrt(n).
  EXPECT_GT(padded[1].item<float>(), 1.9);
}

TEST(RowScoresTest, AreNotNumbersWhereNothingDiffers) {
  EXPECT_TRUE(at::isnan(RowScores(Identity(), Tokens({4}), {1})).all().item<bool>());
  EXPECT_TRUE(at::isnan(RowScores(Identity(), Tokens({0, 0, 0}), {3})).all().item<bool>());
}

TEST(ReferenceScopeTest, TheValidatedOutputIsUsedWhereTheScoreReachesAlpha) {
  const at::Tensor input = Tokens({1, 2, 3});
  const at::Tensor output = 10 * at::ones({3, 3});
  at::Tensor expected = output.clone();
  expected[2] += input[2];
  // The third token's score is exactly 1.
  EXPECT_THAT(ApplyWhereValidated({Identity(), 1.0}, input, output, {3}), TensorNear(expected, 0));
  EXPECT_THAT(ApplyWhereValidated({Identity(), 1.001}, input, output, {3}), TensorNear(output, 0));
}

TEST(ReferenceScopeTest, AScoreThatIsNotANumberUsesNothing) {
  const at::Tensor output = at::ones({1, 3});
  EXPECT_THAT(ApplyWhereValidated({Identity(), -1e9}, Tokens({4}), output, {1}),
              TensorNear(output, 0));
}

TEST(ReferenceScopeTest, TheTemporaryOutputIsUsedEverywhere) {
  const at::Tensor update = RandomTensor({4, 3}, 1);
  const at::Tensor input = RandomTensor({5, 3}, 2);
  const at::Tensor output = RandomTensor({5, 4}, 3);
  EXPECT_THAT(ApplyEverywhere(update, input, output),
              TensorNear(output + input.mm(update.t()), 1e-6));
}

TEST(ReferenceHooksTest, TakeTheWholeInputForOneRow) {
  // The largest score is 1 among the first three tokens and 1.118 among all six.
  const ReferenceHooks hooks({{LayerIndex(1), {Identity(), 1.1}}});
  const at::Tensor input = Tokens({1, 2, 3, 1, 2, 3});
  const at::Tensor output = at::zeros({6, 3});
  EXPECT_EQ(hooks.Apply(LayerIndex(1), input, output).count_nonzero().item<int64_t>(), 2);
  EXPECT_EQ(hooks.ApplyToRows(LayerIndex(1), input, output, {6}).count_nonzero().item<int64_t>(),
            2);
  EXPECT_THAT(hooks.ApplyToRows(LayerIndex(1), input, output, {3, 3}), TensorNear(output, 0));
}

TEST(ReferenceHooksTest, LeaveOtherLayersAlone) {
  const ReferenceHooks hooks({{LayerIndex(1), {Identity(), -1e9}}});
  const at::Tensor output = RandomTensor({3, 3}, 4);
  EXPECT_TRUE(hooks.Apply(LayerIndex(0), Tokens({1, 2, 3}), output).is_same(output));
}

TEST(ReferenceHooksTest, KeepTheOutputsDtypeAndArguments) {
  const ReferenceHooks hooks({{LayerIndex(1), {Identity(), 1.0}}});
  const at::Tensor input = Tokens({1, 2, 3}).to(at::kBFloat16);
  const at::Tensor output = at::zeros({3, 3}, at::kBFloat16);
  const at::Tensor result = hooks.Apply(LayerIndex(1), input, output);
  EXPECT_EQ(result.scalar_type(), at::kBFloat16);
  EXPECT_EQ(result[2][0].item<float>(), 3);
  EXPECT_THAT(output, TensorNear(at::zeros({3, 3}), 0));
}

}  // namespace
}  // namespace amend
