#include "server/validation_gate.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>

#include "core/base/status_macros.h"
#include "core/evaluation/background.h"
#include "core/evaluation/edit_evaluation.h"
#include "server/withdrawn_score.h"

namespace amend {
namespace {

// Rows of one pass, and where each part of them begins.
class PassRows {
 public:
  // Returns the place of the part.
  size_t Add(const std::vector<ScoreItem>& part) {
    begins_.push_back(items_.size());
    items_.insert(items_.end(), part.begin(), part.end());
    return begins_.size() - 1;
  }
  absl::Status Score(const CausalLm& model, const HookStack& hooks) {
    AMEND_ASSIGN_OR_RETURN(scored_, ScoreContinuations(model, hooks, items_));
    return absl::OkStatus();
  }
  absl::Span<const ScoredContinuation> Part(size_t part) const {
    const size_t end = part + 1 < begins_.size() ? begins_[part + 1] : items_.size();
    return absl::MakeConstSpan(scored_).subspan(begins_[part], end - begins_[part]);
  }

 private:
  std::vector<size_t> begins_;
  std::vector<ScoreItem> items_;
  std::vector<ScoredContinuation> scored_;
};

// Each retained edit's prompt with its target: no paraphrases, no probes.
std::vector<ScoreItem> RetainedItems(const Tokenizer& tokenizer,
                                     absl::Span<const RetainedEdit> retained) {
  std::vector<Edit> edits;
  for (const RetainedEdit& each : retained) {
    edits.push_back(each.edit);
    edits.back().paraphrases.clear();
    edits.back().probes.clear();
  }
  return MakeEditItems(tokenizer, edits).targets;
}

void CountRetained(absl::Span<const RetainedEdit> retained, absl::Span<const ScoreItem> items,
                   absl::Span<const ScoredContinuation> before,
                   absl::Span<const ScoredContinuation> after, GateMeasurements* measured) {
  for (size_t i = 0; i < retained.size(); ++i) {
    if (before[i].argmax != items[i].continuation) continue;
    ++measured->retained_edits;
    if (after[i].argmax != items[i].continuation) measured->broken_edits.push_back(retained[i].id);
  }
}

}  // namespace

ValidationGate::ValidationGate(std::shared_ptr<const CausalLm> model,
                               std::shared_ptr<const Tokenizer> tokenizer, const Options& options)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      enforced_(options.enforced),
      context_templates_(options.context_templates),
      background_(MakeBackgroundItems(
          *tokenizer_, options.background_texts,
          std::min(options.max_tokens_per_text, model_->config().context_length))) {}

std::vector<Edit> ValidationGate::WithParaphrases(absl::Span<const Edit> edits,
                                                  std::vector<GeneralitySource>* sources) const {
  std::vector<Edit> filled(edits.begin(), edits.end());
  for (Edit& edit : filled) {
    GeneralitySource source = GeneralitySource::kParaphrases;
    if (edit.paraphrases.empty()) {
      for (std::string text : context_templates_) {
        // Only this place: the prompt may hold braces.
        const size_t place = text.find("{}");
        if (place == std::string::npos) continue;
        edit.paraphrases.push_back(text.replace(place, 2, edit.prompt));
      }
      source = edit.paraphrases.empty() ? GeneralitySource::kNone : GeneralitySource::kTemplates;
    }
    sources->push_back(source);
  }
  return filled;
}

const ValidationGate::Background* ValidationGate::Known(
    const std::shared_ptr<const HookStack>& hooks) const {
  for (const Background* known : {&last_before_, &last_after_}) {
    if (known->hooks.lock() == hooks) return known;
  }
  return nullptr;
}

absl::StatusOr<GateResult> ValidationGate::Judge(const GateRequest& request) {
  GateMeasurements measured;
  const std::vector<Edit> edits = WithParaphrases(request.edits, &measured.sources);
  const EditItems items = MakeEditItems(*tokenizer_, edits);
  const std::vector<ScoreItem> retained = RetainedItems(*tokenizer_, request.retained);
  const Background* const known = Known(request.before);

  PassRows after;
  const size_t targets_after = after.Add(items.targets);
  const size_t probes_after = after.Add(items.probes);
  const size_t retained_after = after.Add(retained);
  const size_t background_after = after.Add(background_);
  AMEND_RETURN_IF_ERROR(after.Score(*model_, *request.after));
  PassRows before;
  const size_t probes_before = before.Add(items.probes);
  const size_t retained_before = before.Add(retained);
  const size_t background_before =
      before.Add(known == nullptr ? background_ : std::vector<ScoreItem>());
  AMEND_RETURN_IF_ERROR(before.Score(*model_, *request.before));

  measured.edits = ReadEditScores(edits, items, after.Part(targets_after),
                                  before.Part(probes_before), after.Part(probes_after));
  measured.means = MeanScores(measured.edits);
  CountRetained(request.retained, retained, before.Part(retained_before),
                after.Part(retained_after), &measured);
  AMEND_ASSIGN_OR_RETURN(measured.withdrawn, ScoreWithdrawn(*model_, *tokenizer_, request));
  if (!background_.empty()) {
    const auto of_before =
        known == nullptr ? before.Part(background_before) : absl::MakeConstSpan(known->scored);
    Background next_before{request.before, {of_before.begin(), of_before.end()}};
    const auto of_after = after.Part(background_after);
    last_before_ = std::move(next_before);
    last_after_ = {request.after, {of_after.begin(), of_after.end()}};
    const auto scores = CompareBackground(last_before_.scored, last_after_.scored);
    if (scores.has_value()) {
      measured.background = scores->unchanged;
      measured.perplexity_change = scores->perplexity_change;
    }
  }
  return JudgeMeasurements(measured, request.targets, request.thresholds, enforced_);
}

}  // namespace amend
