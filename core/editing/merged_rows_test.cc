#include "core/editing/merged_rows.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>

#include <limits>
#include <vector>

#include "core/editing/testing/random_model.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr int64_t kIn = 24;
constexpr int64_t kOut = 10;

StackedFactors Factors(int64_t edits) {
  return {RandomTensor({edits, kOut}, 1), 0.1 * RandomTensor({edits, kIn}, 2),
          1e9 * RandomTensor({edits}, 3).abs()};
}

// W [out, in] + U'V, from the definition.
at::Tensor Dense(const at::Tensor& weight, const StackedFactors& factors) {
  return weight.to(at::kDouble) + factors.u.to(at::kDouble).t().mm(factors.v.to(at::kDouble));
}

class MergedRowsTest : public testing::TestWithParam<at::ScalarType> {};

TEST_P(MergedRowsTest, BothLayoutsAreTheDenseSumRoundedOnce) {
  // More edits than are added at once.
  for (const int64_t edits : {1, 30, 600}) {
    const StackedFactors factors = Factors(edits);
    const at::Tensor weight = RandomTensor({kOut, kIn}, 4).to(GetParam());
    const at::Tensor expected = Dense(weight, factors);
    const at::Tensor out_in = MergeRows(weight, 0, ProjectionLayout::kOutIn, factors);
    const at::Tensor in_out =
        MergeRows(weight.t().contiguous(), 0, ProjectionLayout::kInOut, factors);
    EXPECT_EQ(out_in.scalar_type(), GetParam());
    // Half a unit in the last place of the largest entry, and the noise of the sum.
    const double epsilon = GetParam() == at::kBFloat16 ? 0x1p-8
                           : GetParam() == at::kHalf   ? 0x1p-11
                           : GetParam() == at::kFloat  ? 0x1p-24
                                                       : 1e-14;
    EXPECT_LE(RelativeDifference(out_in, expected), 1.001 * epsilon);
    EXPECT_LE(RelativeDifference(in_out, expected.t()), 1.001 * epsilon);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, MergedRowsTest,
                         testing::Values(at::kDouble, at::kFloat, at::kHalf, at::kBFloat16));

TEST(MergedRowsTest, RowsTakenPieceByPieceAreTheSame) {
  const StackedFactors factors = Factors(7);
  for (const ProjectionLayout layout : {ProjectionLayout::kInOut, ProjectionLayout::kOutIn}) {
    const bool in_out = layout == ProjectionLayout::kInOut;
    const int64_t rows = in_out ? kIn : kOut;
    const at::Tensor weight = RandomTensor({rows, in_out ? kOut : kIn}, 5).to(at::kHalf);
    std::vector<at::Tensor> parts;
    for (int64_t row = 0; row < rows; row += 3) {
      const int64_t count = std::min<int64_t>(3, rows - row);
      parts.push_back(MergeRows(weight.narrow(0, row, count), row, layout, factors));
    }
    EXPECT_TRUE(at::equal(at::cat(parts), MergeRows(weight, 0, layout, factors)));
  }
}

TEST(MergedRowsTest, WithoutEditsTheWeightIsAsItWas) {
  const at::Tensor weight = RandomTensor({kOut, kIn}, 6).to(at::kBFloat16);
  EXPECT_TRUE(at::equal(MergeRows(weight, 0, ProjectionLayout::kOutIn, StackedFactors()), weight));
}

TEST(MergedRowsTest, TheBlockItselfStaysAsItIs) {
  const at::Tensor weight = RandomTensor({kOut, kIn}, 7).to(at::kDouble);
  const at::Tensor before = weight.clone();
  MergeRows(weight, 0, ProjectionLayout::kOutIn, Factors(3));
  EXPECT_TRUE(at::equal(weight, before));
}

}  // namespace
}  // namespace amend
