#ifndef AMEND_CORE_EDITING_TENSOR_MATRIX_H_
#define AMEND_CORE_EDITING_TENSOR_MATRIX_H_

#include <ATen/core/Tensor.h>

#include "core/base/matrix.h"

namespace amend {

// [rows, cols], float32, on the CPU, in memory of its own.
at::Tensor ToTensor(const Matrix& matrix);

// The same, where `matrix` has it: to be read only, while the matrix is there and stays what it is.
at::Tensor ViewOf(const Matrix& matrix);

// `tensor` [rows, cols] of any dtype and device.
Matrix ToMatrix(const at::Tensor& tensor);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_TENSOR_MATRIX_H_
