#ifndef AMEND_CORE_GENERATION_DECODER_H_
#define AMEND_CORE_GENERATION_DECODER_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/hook_stack.h"
#include "core/model/causal_lm.h"

namespace amend {

class GraphRecorder;
class KvPool;
class StepGraphs;

// The running state of one sequence: its KV caches, its tokens so far and the hooks of the revision
// that it answers with (held to the end). Not thread-safe; owned by the scheduler thread.
class DecodeState {
 public:
  ~DecodeState();
  // Tokens in the KV cache, at all layers. A new sequence begins behind what it shares with earlier
  // ones.
  int length() const;
  // Tokens that the layers below the first edited one need not run: what they gave is there. At
  // least length(); more than that in a new sequence whose beginning another revision has computed.
  int lower_length() const;
  // Has room in the KV cache for `tokens` tokens in all, at most what it was made for. False, and
  // nothing has changed, when there is none now.
  bool Extend(int64_t tokens);
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

  // Tokens of the step, and those of them at which an edit changed what a projection gave, at
  // Decoder::Options::first_edited_layer or above. Both 0 where that is not looked at: on another
  // device than the CPU.
  struct HookUse {
    int64_t tokens = 0;
    int64_t fired = 0;
  };
  HookUse hook_use() const;

 private:
  friend class Decoder;
  struct State;
  explicit StepLogits(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Prefill and decode over any mix of sequences, also of different revisions. Sequences of one
// revision that begin with the same tokens share that part of the KV cache. Those of different
// revisions share the layers below the first edited one, which give the same for all of them: their
// keys and values, and the hidden states that the layers above go on from. Not thread-safe, nor are
// its sequences; used by the scheduler thread. Outlives its sequences.
class Decoder {
 public:
  struct Options {
    // Of the KV cache of all sequences; 0: as much as 64 whole contexts take.
    int64_t kv_cache_bytes = 0;
    // Whether a sequence begins behind what an earlier one left in the cache.
    bool share_prefixes = true;
    // The lowest layer that revisions edit, in [0, layers). A revision that edits a lower one is
    // served as well and shares these layers with no other.
    LayerIndex first_edited_layer = LayerIndex(0);
    // Where not null, steps of one token a row, StepGraphs::kMaxRows rows at most, run as graphs.
    std::shared_ptr<GraphRecorder> graph_recorder = nullptr;
  };
  struct SequenceOptions {
    bool trace_hooks = false;
    // Tokens that will ever be in its cache; 0: a whole context.
    int64_t max_tokens = 0;
    // What it will be fed first. A traced sequence shares nothing of the edited layers: they have
    // to see all of its tokens.
    absl::Span<const TokenId> prompt;
    // Tokens for which it has room from the beginning, more by Extend; 0: for all of max_tokens.
    int64_t initial_tokens = 0;
  };
  // In tokens. What can be found and nobody uses counts as free.
  struct CacheUse {
    int64_t claimed = 0;
    int64_t capacity = 0;
  };
  struct Row {
    // New tokens: the prompt (or a chunk of it) for prefill, one token for decode. Not empty.
    absl::Span<const TokenId> tokens;
    DecodeState* state = nullptr;
  };

  explicit Decoder(std::shared_ptr<const CausalLm> model) : Decoder(std::move(model), Options()) {}
  Decoder(std::shared_ptr<const CausalLm> model, const Options& options);
  ~Decoder();

  // What the smallest piece of the KV cache takes.
  static int64_t BlockBytes(const ModelConfig& config, Dtype dtype,
                            LayerIndex first_edited_layer = LayerIndex(0));
  // What a whole context takes in the KV cache.
  static int64_t ContextBytes(const CausalLm& model, LayerIndex first_edited_layer = LayerIndex(0));

  // Null when the KV cache has no room for it now: for its first tokens, and for a block of each
  // sequence that may yet grow.
  std::unique_ptr<DecodeState> NewSequence(std::shared_ptr<const HookStack> hooks,
                                           const SequenceOptions& options);
  std::unique_ptr<DecodeState> NewSequence(std::shared_ptr<const HookStack> hooks,
                                           bool trace_hooks) {
    return NewSequence(std::move(hooks), SequenceOptions{trace_hooks, 0, {}, 0});
  }
  // Thread-safe.
  int64_t cache_capacity() const;
  CacheUse cache_use() const;

  // Runs the new tokens of all rows through the model in one forward and appends them to the rows'
  // caches; each row has a state of its own. INVALID_ARGUMENT, naming both lengths, for a row that
  // would pass the context (or the tokens that it has room for), and for a token outside the
  // vocabulary; nothing is run then. Never short of room in the KV cache.
  absl::StatusOr<StepLogits> Step(absl::Span<const Row> rows);

 private:
  absl::Status CheckRow(const Row& row) const;

  const std::shared_ptr<const CausalLm> model_;
  const LayerIndex first_edited_layer_;
  // Of the layers below the first edited one; null where there are none. It has as many blocks as
  // upper_pool_, and a sequence has as many tokens in its upper part as in its lower one or fewer.
  const std::unique_ptr<KvPool> lower_pool_;
  // Of all others.
  const std::unique_ptr<KvPool> upper_pool_;
  const std::unique_ptr<StepGraphs> graphs_;  // null: there are none
};

}  // namespace amend

#endif  // AMEND_CORE_GENERATION_DECODER_H_
