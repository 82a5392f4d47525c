#include "server/gate_verdict.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace amend {
namespace {

bool IsFinite(const std::optional<double>& score) { return !score || std::isfinite(*score); }

bool AllFinite(const EditScores& scores) {
  return IsFinite(scores.reliability) && IsFinite(scores.generality) && IsFinite(scores.locality);
}

// False for NaN.
bool Reaches(const std::optional<double>& score, double threshold) {
  return !score || *score >= threshold;
}

// Two digits, or as many as it takes to see the difference.
std::string Failure(absl::string_view check, double score, absl::string_view is, double threshold) {
  for (const int digits : {2, 4, 6}) {
    const std::string a = absl::StrFormat("%.*f", digits, score);
    const std::string b = absl::StrFormat("%.*f", digits, threshold);
    if (a != b) return absl::StrCat(check, " ", a, " is ", is, " ", b);
  }
  return absl::StrCat(check, " ", score, " is ", is, " ", threshold);
}

// Compares the numbers of a batch with their thresholds and keeps what fails.
class Checks {
 public:
  explicit Checks(std::vector<std::string>* failures) : failures_(failures) {}

  void AtLeast(absl::string_view check, const std::optional<double>& score, double threshold) {
    if (!CheckFinite(check, score) || Reaches(score, threshold)) return;
    failures_->push_back(Failure(check, *score, "below", threshold));
  }
  void AtMost(absl::string_view check, const std::optional<double>& score,
              const std::optional<double>& bound) {
    if (!CheckFinite(check, score) || !score || !bound || *score <= *bound) return;
    failures_->push_back(Failure(check, *score, "above", *bound));
  }
  bool all_finite() const { return all_finite_; }

 private:
  bool CheckFinite(absl::string_view check, const std::optional<double>& score) {
    if (IsFinite(score)) return true;
    failures_->push_back(absl::StrCat(check, " is not finite"));
    all_finite_ = false;
    return false;
  }

  std::vector<std::string>* const failures_;
  bool all_finite_ = true;
};

// Fills in everything but the thresholds and what follows from them.
GateVerdict VerdictOf(const GateMeasurements& measured) {
  GateVerdict verdict;
  verdict.scores = measured.means;
  verdict.background = measured.background;
  verdict.perplexity_change = measured.perplexity_change;
  verdict.retained_edits = measured.retained_edits;
  verdict.broken_edits = measured.broken_edits;
  if (measured.retained_edits > 0) {
    verdict.retention = 1 - static_cast<double>(measured.broken_edits.size()) /
                                static_cast<double>(measured.retained_edits);
  }
  int reverted = 0;
  for (const WithdrawnScore& score : measured.withdrawn) reverted += score.reverted ? 1 : 0;
  if (!measured.withdrawn.empty()) {
    verdict.reverted =
        static_cast<double>(reverted) / static_cast<double>(measured.withdrawn.size());
  }
  return verdict;
}

// What speaks against a withdrawal. Returns whether all of it is finite.
bool CheckWithdrawn(const std::vector<WithdrawnScore>& withdrawn,
                    std::vector<std::string>* failures) {
  bool finite = true;
  for (const WithdrawnScore& score : withdrawn) {
    const std::string name =
        absl::StrCat("edit ", score.id.index, " of revision ", score.id.revision.value());
    if (!score.finite) failures->push_back(absl::StrCat("result of ", name, " is not finite"));
    if (score.given_before && score.given_after && !score.reverted)
      failures->push_back(absl::StrCat(name, " is withdrawn but its target is still given"));
    finite = finite && score.finite;
  }
  return finite;
}

}  // namespace

bool AllFinite(const EditVerdict& verdict) {
  return AllFinite(verdict.scores) && std::isfinite(verdict.target.loss);
}

GateResult JudgeMeasurements(const GateMeasurements& measured,
                             absl::Span<const TargetReport> targets,
                             const GateThresholds& thresholds, bool enforced) {
  GateResult result;
  result.verdict = VerdictOf(measured);
  GateVerdict& verdict = result.verdict;
  verdict.enforced = enforced;
  verdict.thresholds = thresholds;
  Checks checks(&verdict.failures);
  checks.AtLeast("reliability", verdict.scores.reliability, thresholds.reliability);
  checks.AtLeast("generality", verdict.scores.generality, thresholds.generality);
  checks.AtLeast("locality", verdict.scores.locality, thresholds.locality);
  checks.AtLeast("background", verdict.background, thresholds.background);
  checks.AtMost("perplexity change", verdict.perplexity_change, thresholds.max_perplexity_change);
  checks.AtLeast("retention", verdict.retention, thresholds.retention);
  bool finite = checks.all_finite();
  finite = CheckWithdrawn(measured.withdrawn, &verdict.failures) && finite;
  for (size_t i = 0; i < measured.edits.size(); ++i) {
    EditVerdict edit;
    edit.index = static_cast<int32_t>(i);
    edit.scores = measured.edits[i];
    if (i < measured.sources.size()) edit.generality_source = measured.sources[i];
    if (i < targets.size()) edit.target = targets[i];
    const bool edit_finite = AllFinite(edit);
    if (!edit_finite) {
      verdict.failures.push_back(absl::StrCat("result of edit ", i, " is not finite"));
    }
    finite = finite && edit_finite;
    edit.passed = edit_finite && Reaches(edit.scores.reliability, thresholds.reliability) &&
                  Reaches(edit.scores.generality, thresholds.generality) &&
                  Reaches(edit.scores.locality, thresholds.locality);
    result.edits.push_back(std::move(edit));
  }
  verdict.passed = verdict.failures.empty();
  result.accepted = verdict.passed || (finite && !enforced);
  return result;
}

}  // namespace amend
