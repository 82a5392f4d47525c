#ifndef AMEND_CORE_GENERATION_STEP_GRAPHS_H_
#define AMEND_CORE_GENERATION_STEP_GRAPHS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "core/base/types.h"
#include "core/generation/graph_recorder.h"
#include "core/model/attention.h"
#include "core/model/causal_lm.h"
#include "core/model/hook_point.h"
#include "core/model/packed_forward.h"

namespace amend {

// The forward pass of a decoding step, of one token a row, out of graphs that are replayed. It is
// cut where work depends on more than shapes: at the attentions, and at the layers that have edits
// in this step; these run as they would without graphs. What lies between two cuts is a graph, for
// 1, 2, 4, ... kMaxRows rows. A step with fewer has rows behind its own whose results nobody reads.
// A graph is recorded when it is first needed, and kept: at most 2 layers + 1 for each of these
// numbers. They share the tensors that they read and write, of kMaxRows rows each.
//
// Not thread-safe. LibTorch's exceptions pass through.
class StepGraphs {
 public:
  static constexpr int64_t kMaxRows = 64;

  StepGraphs(std::shared_ptr<const CausalLm> model, std::shared_ptr<GraphRecorder> recorder)
      : model_(std::move(model)), recorder_(std::move(recorder)) {}

  // How many rows the graphs of a step of `rows` rows, in [1, kMaxRows], have.
  static int64_t PaddedRows(int64_t rows);

  // Logits [T, vocabulary], float32, on the CPU, of `tokens`: T rows of one token each, at most
  // kMaxRows. `hook` is asked at the layers of which `has_edits` is true, and nowhere else.
  // `on_hidden` is given what each block reads, [T, d], before its attention is asked.
  at::Tensor Run(const PackedTokens& tokens, AttentionContext& attention,
                 const DownProjectionHook& hook, absl::FunctionRef<bool(LayerIndex)> has_edits,
                 absl::FunctionRef<void(LayerIndex, const at::Tensor&)> on_hidden);

 private:
  // What graphs read and write, and what stands between them. Letters: R rows, d = hidden_size,
  // h heads of queries and g of keys, of e dimensions.
  struct Tensors {
    at::Tensor ids;        // [R], int64
    at::Tensor positions;  // [R], int64
    // Those that a block reads and those that it gives, in turn: a graph that runs twice gives the
    // same.
    at::Tensor hidden_of_even, hidden_of_odd;  // [R, d]
    at::Tensor query;                          // [R, h, e]
    at::Tensor key, value;                     // [R, g, e]
    at::Tensor mixed;                          // [R, h * e]
    at::Tensor logits;                         // [R, vocabulary], float32

    static Tensors For(const CausalLm& model);
    // The first `rows` rows.
    Tensors First(int64_t rows) const;
    // What block `layer` reads; of the number of layers: what the head reads.
    const at::Tensor& HiddenOf(int layer) const;
  };

  // The way up to the next attention, or to the logits.
  struct Piece {
    int64_t rows = 0;
    // The block whose first part this ends with; the number of layers: it ends with the head.
    int layer = 0;
    // Whether it begins with the embedding or the rest of the block before: not where that had
    // edits.
    bool from_below = true;

    bool operator<(const Piece& other) const;
  };

  static void RunPiece(const CausalLm& model, const Piece& piece, const Tensors& tensors);
  void Replay(const Piece& piece);

  const std::shared_ptr<const CausalLm> model_;
  const std::shared_ptr<GraphRecorder> recorder_;
  Tensors tensors_;
  std::map<Piece, std::unique_ptr<RecordedGraph>> graphs_;
};

}  // namespace amend

#endif  // AMEND_CORE_GENERATION_STEP_GRAPHS_H_
