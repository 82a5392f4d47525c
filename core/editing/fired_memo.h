#ifndef AMEND_CORE_EDITING_FIRED_MEMO_H_
#define AMEND_CORE_EDITING_FIRED_MEMO_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "core/editing/scoped_factors.h"
#include "core/editing/stacked_factors.h"

namespace amend {

// What FindFired found for the tokens seen last, for factors to which rows are only ever appended.
// Solving a batch sees most of its tokens several times: prompts share their beginnings, and what
// stands before an edit's subject is the same in every pass. A token that was seen costs only the
// rows appended since. Tokens are the same when all bits of their inputs are. Thread-safe.
class FiredMemo {
 public:
  // Keeps at least the last `max_tokens / 2` different tokens, at most `max_tokens`.
  explicit FiredMemo(int64_t max_tokens) : generation_tokens_(max_tokens / 2) {}

  // As FindFired. `factors` and `screen` are the first rows, however many, of the same growing ones
  // in every call.
  std::vector<FiredEdit> Find(const StackedFactors& factors, const FactorScreen& screen,
                              const at::Tensor& input) ABSL_LOCKS_EXCLUDED(mutex_);

  // Tokens held, for tests.
  int64_t size() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Fired {
    int64_t row;
    float activation;
  };
  struct Entry {
    int64_t edits = 0;         // rows of the factors that were looked at
    std::vector<Fired> fired;  // ascending by row
  };
  struct Token;
  // Inputs lie in one block that is allocated once: many small ones that live long would scatter
  // over the memory that large tensors come from.
  struct Generation {
    at::Tensor inputs;  // [generation_tokens_, d_in]
    absl::flat_hash_map<absl::string_view, Entry> entries;
  };

  void Recall(std::vector<Token>* tokens) const ABSL_LOCKS_EXCLUDED(mutex_);
  void Remember(const std::vector<Token>& tokens, int64_t d_in) ABSL_LOCKS_EXCLUDED(mutex_);

  const int64_t generation_tokens_;
  mutable absl::Mutex mutex_;
  // When `recent_` is full it becomes `older_`, whose entries go.
  Generation recent_ ABSL_GUARDED_BY(mutex_);
  Generation older_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_FIRED_MEMO_H_
