#ifndef AMEND_SERVER_WITHDRAWN_SCORE_H_
#define AMEND_SERVER_WITHDRAWN_SCORE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"
#include "server/gate_request.h"
#include "server/gate_verdict.h"

namespace amend {

// Looks whether the edits that a candidate withdraws are gone: what the candidate, its parent, the
// unedited model and what preceded each edit make of the edit's prompt and target, teacher-forced.
// In the order of request.withdrawn. Thread-safe; runs the model.
absl::StatusOr<std::vector<WithdrawnScore>> ScoreWithdrawn(const CausalLm& model,
                                                           const Tokenizer& tokenizer,
                                                           const GateRequest& request);

}  // namespace amend

#endif  // AMEND_SERVER_WITHDRAWN_SCORE_H_
