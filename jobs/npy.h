#ifndef AMEND_JOBS_NPY_H_
#define AMEND_JOBS_NPY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace amend::jobs {

// One array in NumPy's .npy format, versions 1 to 3
// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). Plain data.
struct NpyArray {
  // Without byte order: "f4", "f8", "i8", ...
  std::string dtype;
  // Empty for a single number.
  std::vector<int64_t> shape;
  // The elements in C order, little-endian: a view into what was parsed.
  absl::string_view elements;
};

// INVALID_ARGUMENT, saying what is wrong with both values, for what is cut, has another order of
// bytes or of dimensions, or holds other things than numbers. `bytes` must outlive the result.
absl::StatusOr<NpyArray> ParseNpy(absl::string_view bytes);

// The elements as float64; dtype f2, f4 or f8, else INVALID_ARGUMENT naming it.
absl::StatusOr<std::vector<double>> ToDoubles(const NpyArray& array);

// A single integer (dtype i4, i8, u4 or u8), else INVALID_ARGUMENT naming dtype or shape.
absl::StatusOr<int64_t> ToCount(const NpyArray& array);

// "[3, 4]".
std::string ShapeText(const std::vector<int64_t>& shape);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_NPY_H_
