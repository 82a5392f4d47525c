#ifndef AMEND_CORE_EDITING_HOOK_STACK_H_
#define AMEND_CORE_EDITING_HOOK_STACK_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/factors.h"
#include "core/model/causal_lm.h"
#include "core/model/hook_point.h"

namespace amend {

struct StackedFactors;

// One edit's output was used at one token.
struct HookFiring {
  // Row of the packed input [T] of that forward.
  int64_t packed_row = 0;
  LayerIndex layer;
  EditId edit;
  // V_b'x over the activation of the edit's own key.
  float relative_activation = 0;
};

// An edit of the line whose key a given one is near.
struct KeyMatch {
  int64_t row = 0;  // of the given keys
  EditId edit;
  // V_b'k over the activation of the edit's own key: 1 for the same key.
  double relative_activation = 0;
};

// All hook layers of one revision: per edited layer the stacked factors of every edit of its line,
// with the LEVERAGE scope: edit b fires at a token where V_b'x >= beta * a_b, and the output is W0
// x + bias + sum over fired b of (V_b'x) U_b. The decision needs the current token only, so full,
// chunked, cached and batched forwards agree. Immutable and thread-safe. Stacks of one line share
// memory: Extend appends to the parent's buffers where the parent is their tip. An edit takes
// 4 (d_in + d_out) bytes at each layer and, on the CPU, d_in for V in 8 bits, which screens what
// may fire (see FindFired); buffers grow by doubling. What fired for the tokens seen last is
// remembered (see FiredMemo): 16 kB d_in a layer at most.
class HookStack : public DownProjectionHook {
 public:
  ~HookStack() override;

  // No edits at all: the unedited model.
  static std::shared_ptr<const HookStack> Empty(const CausalLm& model, double beta);

  // `parent` plus the factors that `revision` brought. INVALID_ARGUMENT, naming layer and both
  // shapes, for factors that do not fit. `line_edits`: the edits that the line is known to come to,
  // so that a buffer that has to grow is made for all of them at once; 0 where that is not known.
  static absl::StatusOr<std::shared_ptr<const HookStack>> Extend(
      const std::shared_ptr<const HookStack>& parent, Revision revision,
      const RevisionFactors& factors, int64_t line_edits = 0);

  // `parent` less `edits`, in memory of its own: every other edit stays what it is, bit for bit,
  // and keeps its EditId. NOT_FOUND, naming it, for an edit that the parent does not hold.
  static absl::StatusOr<std::shared_ptr<const HookStack>> Without(
      const std::shared_ptr<const HookStack>& parent, absl::Span<const EditId> edits);

  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override;

  // Some tokens of a step, one behind the other, and whose hooks they get.
  struct Run {
    const HookStack* stack = nullptr;
    int64_t tokens = 0;
  };
  // Whether the edits of one stack at `layer` are the first ones of the other's, in one memory: so
  // for stacks of one line.
  static bool ShareRows(const HookStack& a, const HookStack& b, LayerIndex layer);
  // Apply for runs whose stacks share their rows: each token gets the edits of its own stack, out
  // of one pass over those of the longest one.
  static at::Tensor ApplyRuns(LayerIndex layer, absl::Span<const Run> runs, const at::Tensor& input,
                              const at::Tensor& output);

  // Like Apply, and appends what fired to `firings`.
  at::Tensor ApplyTraced(LayerIndex layer, const at::Tensor& input, const at::Tensor& output,
                         std::vector<HookFiring>* firings) const;

  // Where it has none, Apply gives back `output` itself.
  bool HasEditsAt(LayerIndex layer) const;
  // The stacked factors of one layer with their thresholds; empty for a layer without edits.
  StackedFactors LayerFactorsOf(LayerIndex layer) const;

  // The edits of the line that the rows of `keys` [n, d_in] share their key with at `layer`: those
  // with a relative activation of `at_least` or more. By row, then in order of the line.
  std::vector<KeyMatch> MatchKeys(LayerIndex layer, const at::Tensor& keys, double at_least) const;

  // The edits that fire at one of the keys in `factors`, at its layer; each once, ascending.
  std::vector<EditId> FiringAt(const RevisionFactors& factors) const;

  // Whether it has edits at a layer before `layer`.
  bool EditsBelow(LayerIndex layer) const;

  // Edits of the whole line.
  int64_t edit_count() const;
  // The one at `place` in the line, in [0, edit_count()).
  EditId EditAt(int64_t place) const;
  // Per edited layer, in ascending order; empty without edits. Once computed for a stack, that of a
  // stack that extends it costs only what its new edits add.
  std::vector<LayerNorm> UpdateNorms(const CausalLm& model) const;

 private:
  struct State;
  explicit HookStack(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_HOOK_STACK_H_
