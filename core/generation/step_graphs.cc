#include "core/generation/step_graphs.h"

#include <ATen/ops/zeros.h>

#include <tuple>

#include "core/model/torch_device.h"

namespace amend {
namespace {

// A layer without edits takes the same way through a block as one with them: the same roundings.
class NoEdits : public DownProjectionHook {
 public:
  at::Tensor Apply(LayerIndex, const at::Tensor&, const at::Tensor& output) const override {
    return output;
  }
};

}  // namespace

StepGraphs::Tensors StepGraphs::Tensors::For(const CausalLm& model) {
  const ModelConfig& config = model.config();
  const int64_t d = config.hidden_size;
  const int64_t e = config.head_dim;
  const at::TensorOptions device = at::TensorOptions().device(TorchDevice(model));
  const at::TensorOptions states = device.dtype(TorchDtype(model));
  Tensors all;
  all.ids = at::zeros({kMaxRows}, device.dtype(at::kLong));
  all.positions = at::zeros({kMaxRows}, device.dtype(at::kLong));
  all.hidden_of_even = at::zeros({kMaxRows, d}, states);
  all.hidden_of_odd = at::zeros({kMaxRows, d}, states);
  all.query = at::zeros({kMaxRows, config.heads, e}, states);
  all.key = at::zeros({kMaxRows, config.kv_heads, e}, states);
  all.value = at::zeros({kMaxRows, config.kv_heads, e}, states);
  all.mixed = at::zeros({kMaxRows, config.heads * e}, states);
  all.logits = at::zeros({kMaxRows, config.vocabulary_size}, device.dtype(at::kFloat));
  return all;
}

StepGraphs::Tensors StepGraphs::Tensors::First(int64_t rows) const {
  Tensors first = *this;
  for (at::Tensor* tensor :
       {&first.ids, &first.positions, &first.hidden_of_even, &first.hidden_of_odd, &first.query,
        &first.key, &first.value, &first.mixed, &first.logits}) {
    *tensor = tensor->narrow(0, 0, rows);
  }
  return first;
}

const at::Tensor& StepGraphs::Tensors::HiddenOf(int layer) const {
  return layer % 2 == 0 ? hidden_of_even : hidden_of_odd;
}

bool StepGraphs::Piece::operator<(const Piece& other) const {
  return std::tie(rows, layer, from_below) < std::tie(other.rows, other.layer, other.from_below);
}

int64_t StepGraphs::PaddedRows(int64_t rows) {
  int64_t padded = 1;
  while (padded < rows) padded *= 2;
  return padded;
}

void StepGraphs::RunPiece(const CausalLm& model, const Piece& piece, const Tensors& tensors) {
  const at::Tensor& hidden = tensors.HiddenOf(piece.layer);
  if (piece.layer == 0) {
    hidden.copy_(model.Embed(tensors.ids, tensors.positions));
  } else if (piece.from_below) {
    const int below = piece.layer - 1;
    const NoEdits no_edits;
    hidden.copy_(
        model.Finish(LayerIndex(below), tensors.HiddenOf(below), tensors.mixed, &no_edits));
  }
  if (piece.layer == model.config().layers) {
    tensors.logits.copy_(model.Head(hidden));
    return;
  }
  const AttentionInput input = model.Project(LayerIndex(piece.layer), hidden, tensors.positions);
  tensors.query.copy_(input.query);
  tensors.key.copy_(input.key);
  tensors.value.copy_(input.value);
}

void StepGraphs::Replay(const Piece& piece) {
  std::unique_ptr<RecordedGraph>& graph = graphs_[piece];
  if (graph == nullptr) {
    graph = recorder_->Record([model = model_, piece, tensors = tensors_.First(piece.rows)] {
      RunPiece(*model, piece, tensors);
    });
  }
  graph->Replay();
}

at::Tensor StepGraphs::Run(const PackedTokens& tokens, AttentionContext& attention,
                           const DownProjectionHook& hook,
                           absl::FunctionRef<bool(LayerIndex)> has_edits,
                           absl::FunctionRef<void(LayerIndex, const at::Tensor&)> on_hidden) {
  if (!tensors_.ids.defined()) tensors_ = Tensors::For(*model_);
  const int64_t rows = tokens.ids.size(0);
  const int layers = model_->config().layers;
  const Tensors own = tensors_.First(rows);
  own.ids.copy_(tokens.ids);
  own.positions.copy_(tokens.positions);
  Piece piece{PaddedRows(rows), 0, true};
  for (; piece.layer < layers; ++piece.layer) {
    Replay(piece);
    const LayerIndex layer(piece.layer);
    on_hidden(layer, own.HiddenOf(piece.layer));
    own.mixed.copy_(attention.Attend(layer, own.query, own.key, own.value));
    piece.from_below = !has_edits(layer);
    if (piece.from_below) continue;
    own.HiddenOf(piece.layer + 1)
        .copy_(model_->Finish(layer, own.HiddenOf(piece.layer), own.mixed, &hook));
  }
  Replay(piece);
  return own.logits.to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
}

}  // namespace amend
