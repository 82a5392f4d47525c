#include "server/gate_verdict.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>

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
std::string Failure(absl::string_view check, double score, double threshold) {
  for (const int digits : {2, 4, 6}) {
    const std::string a = absl::StrFormat("%.*f", digits, score);
    const std::string b = absl::StrFormat("%.*f", digits, threshold);
    if (a != b) return absl::StrCat(check, " ", a, " is below ", b);
  }
  return absl::StrCat(check, " ", score, " is below ", threshold);
}

void Check(absl::string_view check, const std::optional<double>& score, double threshold,
           std::vector<std::string>& failures) {
  if (score && !std::isfinite(*score)) {
    failures.push_back(absl::StrCat(check, " is not finite"));
  } else if (!Reaches(score, threshold)) {
    failures.push_back(Failure(check, *score, threshold));
  }
}

}  // namespace

GateResult JudgeScores(const EditScores& means, absl::Span<const EditScores> scores,
                       absl::Span<const TargetReport> targets, const GateThresholds& thresholds,
                       bool enforced) {
  GateResult result;
  GateVerdict& verdict = result.verdict;
  verdict.enforced = enforced;
  verdict.scores = means;
  verdict.thresholds = thresholds;
  Check("reliability", means.reliability, thresholds.reliability, verdict.failures);
  Check("generality", means.generality, thresholds.generality, verdict.failures);
  Check("locality", means.locality, thresholds.locality, verdict.failures);
  bool finite = AllFinite(means);
  for (size_t i = 0; i < scores.size(); ++i) {
    EditVerdict edit;
    edit.index = static_cast<int32_t>(i);
    edit.scores = scores[i];
    if (i < targets.size()) edit.target = targets[i];
    const bool edit_finite = AllFinite(edit.scores) && std::isfinite(edit.target.loss);
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
