#ifndef AMEND_CLIENT_EVALUATION_H_
#define AMEND_CLIENT_EVALUATION_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "amend/v1/generation.pb.h"
#include "client/client.h"
#include "client/dataset.h"

namespace amend::client {

// A mean over the records that have what it measures.
struct Mean {
  double value() const { return count == 0 ? 0 : sum / count; }
  void Add(double x) {
    sum += x;
    ++count;
  }
  double sum = 0;
  int64_t count = 0;
};

// How well a revision holds a set of edits. The first three are teacher-forced: shares of tokens
// that the model would choose, given the prompt and the right tokens before.
struct Evaluation {
  // Tokens of " " + target_new after the edit's prompt.
  Mean reliability;
  // The same after the evaluation paraphrases.
  Mean generality;
  // Tokens of the probes' answers whose prediction is the same as at the revision `against`.
  Mean locality;
  // Records whose greedy continuation of the prompt is the target: as strict as use is.
  Mean exact_match;
  // What answered.
  int64_t revision = 0;
  int64_t against = 0;
};

struct EvaluationOptions {
  // The revision to measure, resolved once.
  amend::v1::RevisionSelector at;
  // What locality compares with; unset means revision 0, the unedited model.
  amend::v1::RevisionSelector against;
  // Greedy generations at a time.
  int concurrent_generations = 8;
  // Called with the number of records done, from 0 to all; on the caller's thread.
  std::function<void(size_t)> progress = [](size_t) {};
};

// Measures `records`. The first RPC that fails ends it. Blocks; thread-safe as `client` is.
absl::StatusOr<Evaluation> Evaluate(Client* client, const std::vector<EditRecord>& records,
                                    const EvaluationOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_EVALUATION_H_
