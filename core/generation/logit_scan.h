#ifndef AMEND_CORE_GENERATION_LOGIT_SCAN_H_
#define AMEND_CORE_GENERATION_LOGIT_SCAN_H_

#include "absl/types/span.h"
#include "core/base/types.h"

// Passes over the logits of a whole vocabulary, which each sequence pays for at each token, with
// the machine's vector instructions (Highway). Logits that are not finite count as absent.

namespace amend {

struct BestLogit {
  // -1 when no logit is finite.
  TokenId id = -1;
  float logit = 0;
};

// The largest; the lowest id among equals.
BestLogit FindBestLogit(absl::Span<const float> logits);

// log(sum of exp(logit - best)), where `best` is the largest. Terms are float32, their sum float64.
double LogSumExpBelow(absl::Span<const float> logits, float best);

}  // namespace amend

#endif  // AMEND_CORE_GENERATION_LOGIT_SCAN_H_
