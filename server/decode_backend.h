#ifndef AMEND_SERVER_DECODE_BACKEND_H_
#define AMEND_SERVER_DECODE_BACKEND_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/hook_stack.h"
#include "core/evaluation/scorer.h"
#include "server/serving_model.h"

namespace amend {

// The running state of one sequence. Not thread-safe; owned by the scheduler thread.
class DecodeSequence {
 public:
  virtual ~DecodeSequence() = default;
  // Tokens in its cache, at all layers.
  virtual int length() const = 0;
  // Tokens of which the cache has the layers below the first edited one; at least length().
  virtual int lower_length() const { return length(); }
  // Has room in the KV cache for `tokens` tokens in all, at most what it was made for. False, and
  // nothing has changed, when there is none now.
  virtual bool Extend(int64_t tokens) = 0;
  // What fired since the last call, when traced; `packed_row` is the token's position in the
  // sequence.
  virtual std::vector<HookFiring> TakeFirings() = 0;
};

// Logits of the last token of each row of one step. Not thread-safe.
class DecodeLogits {
 public:
  virtual ~DecodeLogits() = default;
  // [vocabulary]. Lives as long as this object.
  virtual absl::Span<const float> row(int i) const = 0;

  // Tokens of the step, and those of them at which an edit fired. Both 0 where that is not known.
  struct HookUse {
    int64_t tokens = 0;
    int64_t fired = 0;
  };
  virtual HookUse hook_use() const { return {}; }
};

// What the scheduler needs of a model. Not thread-safe; used by the scheduler thread alone.
class DecodeBackend {
 public:
  struct Row {
    // New tokens of the sequence: a piece of its prompt, or one generated token. Not empty.
    absl::Span<const TokenId> tokens;
    DecodeSequence* sequence = nullptr;
  };

  struct SequenceOptions {
    bool trace_hooks = false;
    // Tokens that will ever be in its cache; 0: a whole context.
    int64_t max_tokens = 0;
    // What it will be fed first.
    absl::Span<const TokenId> prompt;
    // Tokens for which it has room from the beginning, more by Extend; 0: for all of max_tokens.
    int64_t initial_tokens = 0;
  };
  // In tokens, of all sequences.
  struct CacheUse {
    int64_t claimed = 0;
    int64_t capacity = 0;
  };

  virtual ~DecodeBackend() = default;

  // A sequence that answers with `snapshot` and keeps it. It may begin with a part of its prompt in
  // its cache (see length()), but the last token is always to be fed. Null while the KV cache has
  // no room for its first tokens and a little more for each sequence that may yet grow. One with
  // max_tokens up to cache_capacity() is never refused, nor its Extend, where it is alone.
  virtual std::unique_ptr<DecodeSequence> NewSequence(std::shared_ptr<const Snapshot> snapshot,
                                                      const SequenceOptions& options) = 0;
  // Tokens for which the KV cache has room when it is empty. Constant; may be called by any thread.
  virtual int64_t cache_capacity() const = 0;
  virtual CacheUse cache_use() const = 0;
  // Runs the rows in one forward and appends their tokens to their sequences, which have room.
  virtual absl::StatusOr<std::unique_ptr<DecodeLogits>> Step(absl::Span<const Row> rows) = 0;
  // Results in the order of the items.
  virtual absl::StatusOr<std::vector<ScoredContinuation>> Score(
      const Snapshot& snapshot, absl::Span<const ScoreItem> items) = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_DECODE_BACKEND_H_
