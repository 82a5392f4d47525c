#include "core/base/testing/tensor_matchers.h"

#include <c10/core/ScalarType.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace at {

void PrintTo(const Tensor& tensor, std::ostream* os) {
  if (!tensor.defined()) {
    *os << "undefined tensor";
    return;
  }
  *os << c10::toString(tensor.scalar_type()) << " tensor [" << absl::StrJoin(tensor.sizes(), ", ")
      << "]";
}

}  // namespace at

namespace amend {
namespace tensor_matchers_internal {
namespace {

at::Tensor Flat(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU, at::kDouble).contiguous().view({-1});
}

// "[1, 2]" of element `flat`.
std::string Place(int64_t flat, at::IntArrayRef sizes) {
  std::vector<int64_t> index(sizes.size());
  for (size_t i = sizes.size(); i-- > 0;) {
    index[i] = flat % sizes[i];
    flat /= sizes[i];
  }
  return absl::StrCat("[", absl::StrJoin(index, ", "), "]");
}

double Distance(double actual, double expected) {
  if (actual == expected) return 0;
  const double distance = std::abs(actual - expected);
  return std::isnan(distance) ? std::numeric_limits<double>::infinity() : distance;
}

}  // namespace

std::string Difference(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  if (!actual.defined() || !expected.defined()) return "where one tensor is undefined";
  if (actual.sizes() != expected.sizes()) {
    return absl::StrCat("whose shape is [", absl::StrJoin(actual.sizes(), ", "), "] instead of [",
                        absl::StrJoin(expected.sizes(), ", "), "]");
  }
  const at::Tensor a = Flat(actual), e = Flat(expected);
  const double* a_data = a.const_data_ptr<double>();
  const double* e_data = e.const_data_ptr<double>();
  int64_t first = -1, worst = -1, off = 0;
  double largest = -1;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double distance = Distance(a_data[i], e_data[i]);
    if (distance > largest) {
      largest = distance;
      worst = i;
    }
    if (distance <= tolerance) continue;
    if (first < 0) first = i;
    ++off;
  }
  if (off == 0) return "";
  return absl::StrCat("which has ", a_data[first], " instead of ", e_data[first], " first at ",
                      Place(first, actual.sizes()), "; the largest difference is ", largest, " at ",
                      Place(worst, actual.sizes()), "; ", off, " of ", a.numel(),
                      " elements are off by more than the tolerance of ", tolerance);
}

double LargestMagnitude(const at::Tensor& tensor) {
  return tensor.numel() == 0 ? 0 : Flat(tensor).abs().max().item<double>();
}

}  // namespace tensor_matchers_internal
}  // namespace amend
