#include "core/base/testing/tensor_matchers.h"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <typename M>
std::string Explain(const at::Tensor& actual, const M& matcher) {
  testing::StringMatchResultListener listener;
  testing::ExplainMatchResult(matcher, actual, &listener);
  return listener.str();
}

TEST(TensorMatchersTest, EqualTensorsAreNear) {
  EXPECT_THAT(at::tensor({1.0, 2.0}), TensorNear(at::tensor({1.0, 2.0}), 0.0));
}

TEST(TensorMatchersTest, TheToleranceItselfIsNear) {
  EXPECT_THAT(at::tensor({1.5}), TensorNear(at::tensor({1.0}), 0.5));
  EXPECT_THAT(at::tensor({1.5}), Not(TensorNear(at::tensor({1.0}), 0.49)));
}

TEST(TensorMatchersTest, NamesTheFirstBadElementTheWorstAndTheTolerance) {
  const at::Tensor expected = at::zeros({2, 3});
  const at::Tensor actual = at::tensor({0.0, 0.0, 0.5, 0.0, 4.0, 0.25}).view({2, 3});
  EXPECT_THAT(Explain(actual, TensorNear(expected, 0.3)),
              AllOf(HasSubstr("0.5 instead of 0 first at [0, 2]"),
                    HasSubstr("the largest difference is 4 at [1, 1]"),
                    HasSubstr("2 of 6 elements"), HasSubstr("the tolerance of 0.3")));
}

TEST(TensorMatchersTest, AnotherShapeIsNotNearAndBothAreNamed) {
  EXPECT_THAT(Explain(at::zeros({2, 3}), TensorNear(at::zeros({3, 2}), 1.0)),
              HasSubstr("[2, 3] instead of [3, 2]"));
}

TEST(TensorMatchersTest, NanIsNearNothing) {
  EXPECT_THAT(at::tensor({kNaN}), Not(TensorNear(at::tensor({kNaN}), 1e9)));
  EXPECT_THAT(at::tensor({kNaN}), Not(TensorNear(at::tensor({0.0}), 1e9)));
}

TEST(TensorMatchersTest, InfinitiesAreNearThemselvesAlone) {
  EXPECT_THAT(at::tensor({kInf, -kInf}), TensorNear(at::tensor({kInf, -kInf}), 0.0));
  EXPECT_THAT(at::tensor({kInf}), Not(TensorNear(at::tensor({-kInf}), 1e9)));
}

TEST(TensorMatchersTest, DtypesMayDiffer) {
  EXPECT_THAT(at::full({2}, 0.5, at::kHalf), TensorNear(at::full({2}, 0.5, at::kDouble), 0.0));
}

TEST(TensorMatchersTest, RelativeToleranceScalesWithTheLargestExpectedMagnitude) {
  const at::Tensor expected = at::tensor({1.0, -100.0});
  EXPECT_THAT(at::tensor({1.9, -100.0}), TensorRelativelyNear(expected, 0.01));
  EXPECT_THAT(at::tensor({2.1, -100.0}), Not(TensorRelativelyNear(expected, 0.01)));
}

TEST(TensorMatchersTest, TensorsPrintTheirDtypeAndShape) {
  EXPECT_EQ(testing::PrintToString(at::zeros({2, 3})), "Float tensor [2, 3]");
}

}  // namespace
}  // namespace amend
