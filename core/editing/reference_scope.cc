#include "core/editing/reference_scope.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "core/model/packed_forward.h"

namespace amend {
namespace {

// update x, [T, d_out], float32.
at::Tensor Change(const at::Tensor& update, const at::Tensor& input) {
  return at::linear(input.to(at::kFloat), update);
}

// Sums of values [T] over the rows; row_of [T] says which row each is of. [rows].
at::Tensor RowSums(const at::Tensor& values, const at::Tensor& row_of, int64_t rows) {
  return at::zeros({rows}, values.options()).index_add(0, row_of, values);
}

// z scores of changes [T, d_out]: [T].
at::Tensor ScoresOf(const at::Tensor& change, absl::Span<const int64_t> row_lengths) {
  const at::Tensor distance = at::linalg_vector_norm(change, 2, {1});
  const int64_t rows = static_cast<int64_t>(row_lengths.size());
  const at::Tensor lengths = IndexTensor(row_lengths, change.device());
  const at::Tensor row_of =
      at::arange(rows, lengths.options()).repeat_interleave(lengths, /*dim=*/0);
  const at::Tensor mean = RowSums(distance, row_of, rows) / lengths;
  const at::Tensor above = distance - mean.index_select(0, row_of);
  const at::Tensor deviation = (RowSums(above.square(), row_of, rows) / (lengths - 1)).sqrt();
  return above / deviation.index_select(0, row_of);
}

}  // namespace

at::Tensor RowScores(const at::Tensor& update, const at::Tensor& input,
                     absl::Span<const int64_t> row_lengths) {
  return ScoresOf(Change(update, input), row_lengths);
}

at::Tensor ApplyEverywhere(const at::Tensor& update, const at::Tensor& input,
                           const at::Tensor& output) {
  return (output + Change(update, input)).to(output.scalar_type());
}

at::Tensor ApplyWhereValidated(const ReferenceLayer& layer, const at::Tensor& input,
                               const at::Tensor& output, absl::Span<const int64_t> row_lengths) {
  const at::Tensor change = Change(layer.update, input);
  // False where the score is not a number.
  const at::Tensor used = ScoresOf(change, row_lengths) >= layer.alpha;
  return at::where(used.unsqueeze(1), output + change, output).to(output.scalar_type());
}

ReferenceHooks::ReferenceHooks(std::map<LayerIndex, ReferenceLayer> layers)
    : layers_(std::move(layers)) {}

at::Tensor ReferenceHooks::Apply(LayerIndex layer, const at::Tensor& input,
                                 const at::Tensor& output) const {
  return ApplyToRows(layer, input, output, {input.size(0)});
}

at::Tensor ReferenceHooks::ApplyToRows(LayerIndex layer, const at::Tensor& input,
                                       const at::Tensor& output,
                                       absl::Span<const int64_t> row_lengths) const {
  const auto it = layers_.find(layer);
  return it == layers_.end() ? output : ApplyWhereValidated(it->second, input, output, row_lengths);
}

}  // namespace amend
