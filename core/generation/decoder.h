#ifndef AMEND_CORE_GENERATION_DECODER_H_
#define AMEND_CORE_GENERATION_DECODER_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/hook_stack.h"
#include "core/model/causal_lm.h"

namespace amend {

// The running state of one sequence: its KV cache, its tokens so far and the hooks of the revision
// that it answers with (held to the end). Not thread-safe; owned by the scheduler thread.
class DecodeState {
 public:
  ~DecodeState();
  // Tokens in the KV cache.
  int length() const;
  // What fired since the last call (only when traced); `packed_row` is the token's position in the
  // sequence.
  std::vector<HookFiring> TakeFirings();

 private:
  friend class Decoder;
  struct State;
  explicit DecodeState(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Logits of the last token of each row of a step.
class StepLogits {
 public:
  ~StepLogits();
  StepLogits(StepLogits&&) noexcept;
  StepLogits& operator=(StepLogits&&) noexcept;
  // [vocabulary]. Lives as long as this object.
  absl::Span<const float> row(int i) const;

 private:
  friend class Decoder;
  struct State;
  explicit StepLogits(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Prefill and decode over any mix of sequences, also of different revisions. Thread-compatible;
// used by the scheduler thread.
class Decoder {
 public:
  struct Row {
    // New tokens: the prompt (or a chunk of it) for prefill, one token for decode. Not empty.
    absl::Span<const TokenId> tokens;
    DecodeState* state = nullptr;
  };

  explicit Decoder(std::shared_ptr<const CausalLm> model);

  std::unique_ptr<DecodeState> NewSequence(std::shared_ptr<const HookStack> hooks,
                                           bool trace_hooks) const;

  // Runs the new tokens of all rows through the model in one forward and appends them to the rows'
  // caches; each row has a state of its own. INVALID_ARGUMENT, naming both lengths, for a row that
  // would pass the context, and for a token outside the vocabulary; nothing is run then.
  absl::StatusOr<StepLogits> Step(absl::Span<const Row> rows) const;

 private:
  absl::Status CheckRow(const Row& row) const;

  std::shared_ptr<const CausalLm> model_;
};

}  // namespace amend

#endif  // AMEND_CORE_GENERATION_DECODER_H_
