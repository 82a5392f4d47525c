#include "core/evaluation/edit_evaluation.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"

namespace amend {
namespace {

ScoreItem MakeItem(const Tokenizer& tokenizer, absl::string_view prompt,
                   absl::string_view continuation) {
  return ScoreItem{tokenizer.Encode(prompt),
                   tokenizer.EncodeContinuation(absl::StrCat(" ", continuation))};
}

// Share of places where both agree.
double Agreement(const std::vector<TokenId>& a, const std::vector<TokenId>& b) {
  int same = 0;
  for (size_t i = 0; i < a.size(); ++i) same += a[i] == b[i];
  return static_cast<double>(same) / static_cast<double>(a.size());
}

// Running mean; absent without values.
class Mean {
 public:
  void Add(double value) {
    sum_ += value;
    ++count_;
  }
  std::optional<double> value() const {
    if (count_ == 0) return std::nullopt;
    return sum_ / count_;
  }

 private:
  double sum_ = 0;
  int count_ = 0;
};

}  // namespace

EditItems MakeEditItems(const Tokenizer& tokenizer, absl::Span<const Edit> edits) {
  EditItems items;
  for (const Edit& edit : edits) {
    items.targets.push_back(MakeItem(tokenizer, edit.prompt, edit.target_new));
    for (const std::string& paraphrase : edit.paraphrases) {
      items.targets.push_back(MakeItem(tokenizer, paraphrase, edit.target_new));
    }
    for (const Probe& probe : edit.probes) {
      items.probes.push_back(MakeItem(tokenizer, probe.prompt, probe.answer));
    }
  }
  return items;
}

std::vector<EditScores> ReadEditScores(absl::Span<const Edit> edits, const EditItems& items,
                                       absl::Span<const ScoredContinuation> targets_after,
                                       absl::Span<const ScoredContinuation> probes_before,
                                       absl::Span<const ScoredContinuation> probes_after) {
  std::vector<EditScores> scores;
  size_t target = 0;
  size_t probe = 0;
  const auto target_agreement = [&] {
    const double agreement =
        Agreement(targets_after[target].argmax, items.targets[target].continuation);
    ++target;
    return agreement;
  };
  for (const Edit& edit : edits) {
    Mean reliability, generality, locality;
    reliability.Add(target_agreement());
    for (size_t i = 0; i < edit.paraphrases.size(); ++i) generality.Add(target_agreement());
    for (size_t i = 0; i < edit.probes.size(); ++i, ++probe) {
      locality.Add(Agreement(probes_before[probe].argmax, probes_after[probe].argmax));
    }
    scores.push_back({reliability.value(), generality.value(), locality.value()});
  }
  return scores;
}

absl::StatusOr<std::vector<EditScores>> EvaluateEdits(
    const CausalLm& model, const Tokenizer& tokenizer, const DownProjectionHook& before,
    const DownProjectionHook& after, absl::Span<const Edit> edits, ForwardRows rows) {
  const EditItems items = MakeEditItems(tokenizer, edits);
  std::vector<ScoreItem> items_after = items.targets;
  items_after.insert(items_after.end(), items.probes.begin(), items.probes.end());
  AMEND_ASSIGN_OR_RETURN(const auto scored_after,
                         ScoreContinuations(model, after, items_after, rows));
  AMEND_ASSIGN_OR_RETURN(const auto scored_before,
                         ScoreContinuations(model, before, items.probes, rows));
  const auto all_after = absl::MakeConstSpan(scored_after);
  return ReadEditScores(edits, items, all_after.first(items.targets.size()), scored_before,
                        all_after.subspan(items.targets.size()));
}

EditScores MeanScores(absl::Span<const EditScores> scores) {
  Mean reliability, generality, locality;
  for (const EditScores& score : scores) {
    if (score.reliability.has_value()) reliability.Add(*score.reliability);
    if (score.generality.has_value()) generality.Add(*score.generality);
    if (score.locality.has_value()) locality.Add(*score.locality);
  }
  return {reliability.value(), generality.value(), locality.value()};
}

}  // namespace amend
