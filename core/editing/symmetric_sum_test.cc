#include "core/editing/symmetric_sum.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>

#include "core/base/testing/status_matchers.h"
#include "core/editing/testing/random_model.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::HasSubstr;

at::Tensor SumOf(const at::Tensor& rows) {
  const at::Tensor exact = rows.to(at::kDouble);
  return at::matmul(exact.t(), exact);
}

class SymmetricSumTest : public testing::TestWithParam<int64_t> {};

TEST_P(SymmetricSumTest, IsTheSumOfOuterProducts) {
  SymmetricSum sum(GetParam(), at::kCPU);
  const at::Tensor first = RandomTensor({70, GetParam()}, 1);
  const at::Tensor second = RandomTensor({1, GetParam()}, 2);
  sum.Add(first);
  sum.Add(second);
  const at::Tensor dense = sum.Dense();
  EXPECT_EQ(dense.scalar_type(), at::kDouble);
  EXPECT_LT(RelativeDifference(dense, SumOf(first) + SumOf(second)), 1e-5);
}

TEST_P(SymmetricSumTest, IsExactlySymmetric) {
  SymmetricSum sum(GetParam(), at::kCPU);
  sum.Add(RandomTensor({70, GetParam()}, 3));
  EXPECT_TRUE(at::equal(sum.Dense(), sum.Dense().t()));
}

TEST_P(SymmetricSumTest, GoesOnFromRestoredPanelsWithTheSameBytes) {
  const at::Tensor first = RandomTensor({70, GetParam()}, 4);
  const at::Tensor second = RandomTensor({33, GetParam()}, 5);
  SymmetricSum whole(GetParam(), at::kCPU);
  whole.Add(first);
  SymmetricSum resumed(GetParam(), at::kCPU);
  ASSERT_THAT(resumed.Restore(whole.panels()), IsOk());
  whole.Add(second);
  resumed.Add(second);
  EXPECT_TRUE(at::equal(whole.Dense(), resumed.Dense()));
}

// One panel, a whole number of panels, a last panel that is narrower.
INSTANTIATE_TEST_SUITE_P(Sizes, SymmetricSumTest, testing::Values(1, 64, 256, 512, 700));

TEST(SymmetricSumRestoreTest, PanelsOfAnotherSizeAreRefusedWithBoth) {
  SymmetricSum sum(300, at::kCPU);
  EXPECT_THAT(sum.Restore(SymmetricSum(200, at::kCPU).panels()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 panels, not 1")));
  EXPECT_THAT(sum.Restore(SymmetricSum(301, at::kCPU).panels()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[256, 300], not")));
}

TEST(SymmetricSumPrecisionTest, RowsOfLowPrecisionAreSummedInFloat32) {
  SymmetricSum sum(1, at::kCPU);
  sum.Add(at::full({4000, 1}, 1, at::kBFloat16));
  EXPECT_EQ(sum.Dense().item<double>(), 4000);
}

}  // namespace
}  // namespace amend
