#ifndef AMEND_SERVER_VALIDATION_GATE_H_
#define AMEND_SERVER_VALIDATION_GATE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/editing/hook_stack.h"
#include "core/evaluation/scorer.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"
#include "server/gate_request.h"
#include "server/gate_verdict.h"

namespace amend {

// Measures a candidate before it may serve, and judges what it measured (see JudgeMeasurements):
//
//  - reliability, generality and locality of each edit, see EvaluateEdits. Where an edit has no
//    paraphrases, its prompt in each of the context templates stands in for them;
//  - on background texts the share of predictions that stay, and the change of perplexity;
//  - which of the earlier edits in the request hold no more. An edit holds where the model chooses
//    every token of its target after its prompt.
//
// Everything is one pass of the model over the candidate and one over the parent, whose length
// depends on the batch, the texts and the sample and not on how many edits there have been. Not
// thread-safe; owned by the coordinator.
class ValidationGate {
 public:
  struct Options {
    // False: scores are recorded, and only what is not finite is turned down.
    bool enforced = true;
    // "{}" stands for the prompt; without the plain one.
    std::vector<std::string> context_templates;
    // Of each the first `max_tokens_per_text` tokens are used.
    std::vector<std::string> background_texts;
    int max_tokens_per_text = 64;
  };
  ValidationGate(std::shared_ptr<const CausalLm> model, std::shared_ptr<const Tokenizer> tokenizer,
                 const Options& options);

  absl::StatusOr<GateResult> Judge(const GateRequest& request);

 private:
  // What one model makes of the background.
  struct Background {
    std::weak_ptr<const HookStack> hooks;
    std::vector<ScoredContinuation> scored;
  };

  std::vector<Edit> WithParaphrases(absl::Span<const Edit> edits,
                                    std::vector<GeneralitySource>* sources) const;
  // Null where `hooks` have to be scored.
  const Background* Known(const std::shared_ptr<const HookStack>& hooks) const;

  const std::shared_ptr<const CausalLm> model_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const bool enforced_;
  const std::vector<std::string> context_templates_;
  const std::vector<ScoreItem> background_;
  // Of the parent and the candidate last judged: one of the two is the next parent.
  Background last_before_;
  Background last_after_;
};

}  // namespace amend

#endif  // AMEND_SERVER_VALIDATION_GATE_H_
