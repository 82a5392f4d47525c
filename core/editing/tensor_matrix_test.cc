#include "core/editing/tensor_matrix.h"

#include <ATen/ops/arange.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::ElementsAre;

TEST(TensorMatrixTest, KeepsRowsAndColumnsInOrder) {
  const Matrix matrix{2, 3, {1, 2, 3, 4, 5, 6}};
  const at::Tensor tensor = ToTensor(matrix);
  EXPECT_THAT(tensor.sizes(), ElementsAre(2, 3));
  EXPECT_EQ(tensor[1][0].item<float>(), 4);
  EXPECT_EQ(ToMatrix(tensor), matrix);
}

TEST(TensorMatrixTest, TensorHasMemoryOfItsOwn) {
  Matrix matrix{1, 2, {1, 2}};
  const at::Tensor tensor = ToTensor(matrix);
  matrix.values[0] = 7;
  EXPECT_EQ(tensor[0][0].item<float>(), 1);
}

TEST(TensorMatrixTest, AViewReadsTheMatrixWhereItIs) {
  const Matrix matrix{2, 3, {1, 2, 3, 4, 5, 6}};
  const at::Tensor view = ViewOf(matrix);
  EXPECT_EQ(view.const_data_ptr<float>(), matrix.values.data());
  EXPECT_EQ(ToMatrix(view), matrix);
}

TEST(TensorMatrixTest, ReadsATransposedView) {
  const at::Tensor view = at::arange(6, at::kFloat).view({2, 3}).t();
  const Matrix matrix = ToMatrix(view);
  EXPECT_EQ(matrix.rows, 3);
  EXPECT_EQ(matrix.cols, 2);
  EXPECT_THAT(matrix.values, ElementsAre(0, 3, 1, 4, 2, 5));
}

TEST(TensorMatrixTest, ConvertsOtherTypesToFloat) {
  EXPECT_THAT(ToMatrix(at::arange(3, at::kDouble).view({1, 3})).values, ElementsAre(0, 1, 2));
}

TEST(TensorMatrixTest, KeepsTheColumnsOfAMatrixWithoutRows) {
  const Matrix matrix = ToMatrix(ToTensor(Matrix{0, 5, {}}));
  EXPECT_EQ(matrix.rows, 0);
  EXPECT_EQ(matrix.cols, 5);
}

}  // namespace
}  // namespace amend
