#ifndef AMEND_CORE_EDITING_ROW_CODES_H_
#define AMEND_CORE_EDITING_ROW_CODES_H_

#include <cstdint>

namespace amend {

// Rows of numbers in 8 bits, for cheap inner products that are off by little. A row is turned
// first, 64 numbers at a time (or the largest power of two that divides its length), by the
// orthogonal Hadamard matrix: inner products stay, and no number stands out any more, which
// rounding needs.

// What one row r is as codes: r~ = scale * codes, both turned. Norms are rounded up, but for the
// float32 rounding of r itself.
struct RowCode {
  float scale = 1;
  float error = 0;       // |r - r~|
  float norm = 0;        // |r|
  float coded_norm = 0;  // |r~|
};

// Norms are sums in float32: rounded up by more than that can be wrong.
inline constexpr double kNormSlack = 1 + 1e-4;
// A number of a turned row is a sum of so many at most.
inline constexpr int64_t kMaxRotated = 64;

// Codes of `row` [count], float32, to `codes` [count]: -127 to 127. A row of zeros has scale 1.
// What is not finite gets codes of some kind and an error that is NaN or infinite. Thread-safe.
RowCode CodeRow(const float* row, int64_t count, int8_t* codes);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_ROW_CODES_H_
