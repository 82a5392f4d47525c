#include "core/editing/factors.h"

#include <utility>

namespace amend {
namespace {

Matrix WithoutRows(const Matrix& matrix, const std::set<int32_t>& indices) {
  Matrix rest{0, matrix.cols, {}};
  for (int64_t row = 0; row < matrix.rows; ++row) {
    if (indices.count(static_cast<int32_t>(row)) > 0) continue;
    const auto begin = matrix.values.begin() + row * matrix.cols;
    rest.values.insert(rest.values.end(), begin, begin + matrix.cols);
    ++rest.rows;
  }
  return rest;
}

}  // namespace

RevisionFactors WithoutEdits(const RevisionFactors& factors, const std::set<int32_t>& indices) {
  RevisionFactors rest;
  for (const LayerFactors& layer : factors.layers) {
    LayerFactors kept{layer.layer,
                      WithoutRows(layer.u, indices),
                      WithoutRows(layer.v, indices),
                      WithoutRows(layer.keys, indices),
                      {}};
    for (size_t i = 0; i < layer.activations.size(); ++i) {
      if (indices.count(static_cast<int32_t>(i)) == 0)
        kept.activations.push_back(layer.activations[i]);
    }
    rest.layers.push_back(std::move(kept));
  }
  return rest;
}

}  // namespace amend
