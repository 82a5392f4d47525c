#include "core/editing/tensor_matrix.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

namespace amend {

at::Tensor ToTensor(const Matrix& matrix) {
  at::Tensor tensor = at::empty({matrix.rows, matrix.cols}, at::TensorOptions().dtype(at::kFloat));
  std::memcpy(tensor.mutable_data_ptr<float>(), matrix.values.data(),
              matrix.values.size() * sizeof(float));
  return tensor;
}

at::Tensor ViewOf(const Matrix& matrix) {
  // LibTorch knows no tensor that may only be read.
  return at::from_blob(const_cast<float*>(matrix.values.data()), {matrix.rows, matrix.cols},
                       at::TensorOptions().dtype(at::kFloat));
}

Matrix ToMatrix(const at::Tensor& tensor) {
  const at::Tensor local = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
  const float* data = local.const_data_ptr<float>();
  return Matrix{local.size(0), local.size(1), std::vector<float>(data, data + local.numel())};
}

}  // namespace amend
