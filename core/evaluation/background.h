#ifndef AMEND_CORE_EVALUATION_BACKGROUND_H_
#define AMEND_CORE_EVALUATION_BACKGROUND_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "core/evaluation/scorer.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

// Background text: what edits are not about and should leave alone. Pure functions; thread-safe.

// What became of it.
struct BackgroundScores {
  // Share of next-token predictions that did not change, in [0, 1].
  double unchanged = 0;
  // Perplexity after over perplexity before, less one: 0.1 is a tenth more.
  double perplexity_change = 0;
};

// One row per text: every token but the first is predicted from those before it. Of a text the
// first `max_tokens` tokens are used; one with fewer than two tokens has nothing to predict and is
// left out.
std::vector<ScoreItem> MakeBackgroundItems(const Tokenizer& tokenizer,
                                           absl::Span<const std::string> texts, int max_tokens);

// Compares the same rows as two models score them, over all of their tokens. Absent without any.
std::optional<BackgroundScores> CompareBackground(absl::Span<const ScoredContinuation> before,
                                                  absl::Span<const ScoredContinuation> after);

}  // namespace amend

#endif  // AMEND_CORE_EVALUATION_BACKGROUND_H_
