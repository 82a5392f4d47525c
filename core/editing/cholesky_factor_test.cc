#include "core/editing/cholesky_factor.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_cholesky.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::HasSubstr;

// A symmetric positive definite matrix [n, n], float64.
at::Tensor RandomCovariance(int64_t n, uint64_t seed) {
  const at::Tensor a = RandomTensor({n, n}, seed).to(at::kDouble);
  return at::matmul(a, a.t()) / static_cast<double>(n) + 0.1 * at::eye(n, at::kDouble);
}

at::Tensor Dense(const CholeskyFactor& factor) {
  return factor.Multiply(at::eye(factor.size(), at::kDouble)).t().contiguous();
}

// Sizes below one block, of whole blocks, and with a rest.
class CholeskyFactorSizeTest : public testing::TestWithParam<int64_t> {};

TEST_P(CholeskyFactorSizeTest, EqualsTheDenseFactor) {
  const at::Tensor matrix = RandomCovariance(GetParam(), 1);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto factor, CholeskyFactor::Of(matrix, 3));
  EXPECT_EQ(factor->size(), GetParam());
  EXPECT_LT(RelativeDifference(Dense(*factor), at::linalg_cholesky(3 * matrix)), 1e-13);
}

TEST_P(CholeskyFactorSizeTest, WhitenAndUnwhitenUndoMultiplications) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto factor,
                             CholeskyFactor::Of(RandomCovariance(GetParam(), 2)));
  const at::Tensor rows = RandomTensor({7, GetParam()}, 3).to(at::kDouble);
  const at::Tensor lower = Dense(*factor);
  EXPECT_LT(RelativeDifference(at::matmul(factor->Whiten(rows), lower.t()), rows), 1e-12);
  EXPECT_LT(RelativeDifference(at::matmul(factor->Unwhiten(rows), lower), rows), 1e-12);
  EXPECT_LT(RelativeDifference(factor->MultiplyTransposed(rows), at::matmul(rows, lower)), 1e-13);
}

TEST_P(CholeskyFactorSizeTest, WithKeysIsTheFactorOfTheSum) {
  const at::Tensor matrix = RandomCovariance(GetParam(), 4);
  const at::Tensor keys = RandomTensor({9, GetParam()}, 5).to(at::kDouble);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto factor, CholeskyFactor::Of(matrix));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto extended, factor->WithKeys(keys));
  EXPECT_LT(RelativeDifference(Dense(*extended),
                               at::linalg_cholesky(matrix + at::matmul(keys.t(), keys))),
            1e-12);
}

INSTANTIATE_TEST_SUITE_P(Sizes, CholeskyFactorSizeTest, testing::Values(1, 30, 512, 700, 1024));

TEST(CholeskyFactorTest, HalfOfTheSquareIsKept) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto factor, CholeskyFactor::Of(RandomCovariance(1536, 6)));
  EXPECT_EQ(factor->bytes(), 8 * 512 * (1536 + 1024 + 512));
}

TEST(CholeskyFactorTest, TheFirstMinorThatIsNotPositiveDefiniteIsNamed) {
  at::Tensor matrix = at::eye(700, at::kDouble);
  matrix[600][600] = -1;
  EXPECT_THAT(CholeskyFactor::Of(matrix),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("leading minor of order 601 of 700 is not positive definite")));
}

TEST(CholeskyFactorTest, AMatrixThatIsNotFiniteIsRefused) {
  at::Tensor matrix = at::eye(5, at::kDouble);
  matrix[3][3] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(CholeskyFactor::Of(matrix), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(CholeskyFactorTest, BlockColumnsMakeTheSameFactor) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto factor, CholeskyFactor::Of(RandomCovariance(700, 7)));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto again,
                             CholeskyFactor::FromBlockColumns(factor->block_columns()));
  EXPECT_TRUE(Dense(*again).equal(Dense(*factor)));
}

TEST(CholeskyFactorTest, BlockColumnsOfOtherShapesAreRefused) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto factor, CholeskyFactor::Of(RandomCovariance(700, 7)));
  std::vector<at::Tensor> columns = factor->block_columns();
  columns.pop_back();
  EXPECT_THAT(CholeskyFactor::FromBlockColumns(columns),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ends at column 512")));
  columns.push_back(columns[0]);
  EXPECT_THAT(CholeskyFactor::FromBlockColumns(columns),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("block column at 512")));
  EXPECT_THAT(CholeskyFactor::FromBlockColumns({}), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace amend
