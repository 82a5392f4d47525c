#include "core/evaluation/background.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace amend {

std::vector<ScoreItem> MakeBackgroundItems(const Tokenizer& tokenizer,
                                           absl::Span<const std::string> texts, int max_tokens) {
  std::vector<ScoreItem> items;
  for (const std::string& text : texts) {
    std::vector<TokenId> tokens = tokenizer.Encode(text);
    tokens.resize(std::min(tokens.size(), static_cast<size_t>(std::max(max_tokens, 0))));
    if (tokens.size() < 2) continue;
    items.push_back({{tokens[0]}, {tokens.begin() + 1, tokens.end()}});
  }
  return items;
}

std::optional<BackgroundScores> CompareBackground(absl::Span<const ScoredContinuation> before,
                                                  absl::Span<const ScoredContinuation> after) {
  double tokens = 0;
  double unchanged = 0;
  // Of the negative log likelihood, in all.
  double increase = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    for (size_t j = 0; j < before[i].argmax.size(); ++j) {
      ++tokens;
      unchanged += before[i].argmax[j] == after[i].argmax[j] ? 1 : 0;
      increase += static_cast<double>(before[i].logprobs[j]) - after[i].logprobs[j];
    }
  }
  if (tokens == 0) return std::nullopt;
  return BackgroundScores{unchanged / tokens, std::expm1(increase / tokens)};
}

}  // namespace amend
