#ifndef AMEND_CORE_BASE_TESTING_TENSOR_MATCHERS_H_
#define AMEND_CORE_BASE_TESTING_TENSOR_MATCHERS_H_

// Matchers for tensors:
//   EXPECT_THAT(output, TensorNear(expected, 1e-6));
//   EXPECT_THAT(logits, TensorRelativelyNear(golden, 1e-4));
// A failure names the first element that is off, the largest difference with its place, how many
// elements are off, and the tolerance.

#include <ATen/core/Tensor.h>

#include <ostream>
#include <string>

#include "gmock/gmock.h"

namespace at {

// Dtype and shape: a tensor's numbers would fill the screen. Found by gtest.
void PrintTo(const Tensor& tensor, std::ostream* os);

}  // namespace at

namespace amend {
namespace tensor_matchers_internal {

// Empty where every element of `actual` is within `tolerance` of its place in `expected`, else what
// differs. A NaN is near nothing; infinities are near themselves.
std::string Difference(const at::Tensor& actual, const at::Tensor& expected, double tolerance);

// The largest absolute value; 0 for a tensor without elements.
double LargestMagnitude(const at::Tensor& tensor);

}  // namespace tensor_matchers_internal

// A tensor of the same shape (any dtype and device), each element within `tolerance`.
MATCHER_P2(TensorNear, expected, tolerance,
           std::string(negation ? "is not within " : "is within ") +
               testing::PrintToString(tolerance) + " of a " + testing::PrintToString(expected)) {
  const std::string difference =
      tensor_matchers_internal::Difference(arg, expected, static_cast<double>(tolerance));
  *result_listener << difference;
  return difference.empty();
}

// The same with a tolerance of `relative` times the largest magnitude in `expected`.
inline auto TensorRelativelyNear(const at::Tensor& expected, double relative) {
  return TensorNear(expected, relative * tensor_matchers_internal::LargestMagnitude(expected));
}

}  // namespace amend

#endif  // AMEND_CORE_BASE_TESTING_TENSOR_MATCHERS_H_
