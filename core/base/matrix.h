#ifndef AMEND_CORE_BASE_MATRIX_H_
#define AMEND_CORE_BASE_MATRIX_H_

#include <cstdint>
#include <vector>

namespace amend {

// A row-major float32 matrix without a tensor library: what storage keeps. values.size() == rows *
// cols.
struct Matrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<float> values;

  friend bool operator==(const Matrix& a, const Matrix& b) {
    return a.rows == b.rows && a.cols == b.cols && a.values == b.values;
  }
};

}  // namespace amend

#endif  // AMEND_CORE_BASE_MATRIX_H_
