#include "server/withdrawn_score.h"

#include <cmath>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "core/base/status_macros.h"
#include "core/evaluation/scorer.h"

namespace amend {
namespace {

bool AllFinite(const std::vector<float>& numbers) {
  for (const float number : numbers) {
    if (!std::isfinite(number)) return false;
  }
  return true;
}

// Marks what the candidate answers as `hooks` do; of the edits from `begin` on, one per item.
absl::Status MarkReverted(const CausalLm& model, const HookStack& hooks,
                          absl::Span<const ScoreItem> items,
                          absl::Span<const ScoredContinuation> after,
                          absl::Span<WithdrawnScore> scores) {
  AMEND_ASSIGN_OR_RETURN(const auto scored, ScoreContinuations(model, hooks, items));
  for (size_t i = 0; i < items.size(); ++i) {
    if (scored[i].argmax == after[i].argmax) scores[i].reverted = true;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<WithdrawnScore>> ScoreWithdrawn(const CausalLm& model,
                                                           const Tokenizer& tokenizer,
                                                           const GateRequest& request) {
  const std::vector<WithdrawnEdit>& withdrawn = request.withdrawn;
  std::vector<WithdrawnScore> scores;
  if (withdrawn.empty()) return scores;
  std::vector<ScoreItem> items;
  for (const WithdrawnEdit& each : withdrawn) {
    items.push_back({tokenizer.Encode(each.edit.prompt),
                     tokenizer.EncodeContinuation(absl::StrCat(" ", each.edit.target_new))});
  }
  AMEND_ASSIGN_OR_RETURN(const auto before, ScoreContinuations(model, *request.before, items));
  AMEND_ASSIGN_OR_RETURN(const auto after, ScoreContinuations(model, *request.after, items));
  for (size_t i = 0; i < withdrawn.size(); ++i) {
    WithdrawnScore score;
    score.id = withdrawn[i].id;
    score.given_before = before[i].argmax == items[i].continuation;
    score.given_after = after[i].argmax == items[i].continuation;
    score.finite = AllFinite(after[i].logprobs);
    scores.push_back(score);
  }
  AMEND_RETURN_IF_ERROR(
      MarkReverted(model, *request.unedited, items, after, absl::MakeSpan(scores)));
  // Edits of one batch have the same hooks before them.
  for (size_t begin = 0, end = 0; begin < withdrawn.size(); begin = end) {
    while (end < withdrawn.size() && withdrawn[end].preceding == withdrawn[begin].preceding) ++end;
    if (withdrawn[begin].preceding == nullptr) continue;
    const size_t count = end - begin;
    AMEND_RETURN_IF_ERROR(MarkReverted(model, *withdrawn[begin].preceding,
                                       absl::MakeConstSpan(items).subspan(begin, count),
                                       absl::MakeConstSpan(after).subspan(begin, count),
                                       absl::MakeSpan(scores).subspan(begin, count)));
  }
  return scores;
}

}  // namespace amend
