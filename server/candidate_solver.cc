#include "server/candidate_solver.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/edit_overlaps.h"
#include "server/errors.h"
#include "server/line_edits.h"
#include "server/out_of_memory.h"
#include "server/proto_conversion.h"

namespace amend {
namespace {

// An error of the engine is the batch's own, whatever its code: it must not look like trouble of
// the store.
absl::Status FromEngine(const absl::Status& status) {
  const absl::Status own = FromMemory(status);
  return own.ok() || !IsStoreTrouble(own)
             ? own
             : WithReason(absl::InternalError(own.message()), "SOLVE_FAILED");
}

// Whether an edit shares its key with one that the candidate breaks.
bool Breaks(const EditVerdict& verdict, const std::vector<EditId>& broken) {
  return std::any_of(verdict.overlaps.begin(), verdict.overlaps.end(), [&](const EditOverlap& o) {
    return std::count(broken.begin(), broken.end(), EditId{o.revision, o.edit_index}) > 0;
  });
}

// Whether an edit is to be left out: one that failed or, where earlier edits were to be kept, that
// breaks them.
bool Fails(const EditVerdict& verdict, const GateVerdict& batch) {
  if (!AllFinite(verdict)) return true;
  if (!batch.enforced) return false;
  const bool breaks = batch.retention.has_value() &&
                      *batch.retention < batch.thresholds.retention &&
                      Breaks(verdict, batch.broken_edits);
  return !verdict.passed || breaks;
}

}  // namespace

struct CandidateSolver::Trial {
  const LedgerEntry& entry;
  const Revision revision;
  const std::shared_ptr<const HookStack>& parent;
  const std::function<bool()>& stop;
  // Places in the batch of the edits that are left, and these edits.
  std::vector<int32_t> kept;
  std::vector<Edit> edits;
  // Verdicts on those that are not.
  std::vector<EditVerdict> dropped;
  int drops = 0;
  Candidate candidate;

  int batch_size() const { return static_cast<int>(entry.edits.size()); }
};

CandidateSolver::CandidateSolver(const RevisionStore* store, EditEngine* engine, EditEventHub* hub,
                                 EditObserver* observer, std::function<absl::Time()> clock)
    : store_(store), engine_(engine), hub_(hub), observer_(observer), clock_(std::move(clock)) {}

absl::StatusOr<Candidate> CandidateSolver::Solve(const LedgerEntry& entry, Revision revision,
                                                 const std::shared_ptr<const HookStack>& parent,
                                                 const std::function<bool()>& stop) {
  Trial trial{entry, revision, parent, stop, {}, entry.edits, {}, 0, {}};
  for (int32_t i = 0; i < trial.batch_size(); ++i) trial.kept.push_back(i);
  do {
    AMEND_RETURN_IF_ERROR(CatchOutOfMemory("solving a batch", [&]() -> absl::Status {
      AMEND_RETURN_IF_ERROR(SolveKept(trial));
      return JudgeKept(trial);
    }));
  } while (DropFailing(trial));
  std::vector<EditVerdict>& verdicts = trial.candidate.gate.edits;
  verdicts.insert(verdicts.end(), trial.dropped.begin(), trial.dropped.end());
  std::sort(verdicts.begin(), verdicts.end(),
            [](const EditVerdict& a, const EditVerdict& b) { return a.index < b.index; });
  trial.candidate.edit_count = static_cast<int>(trial.kept.size());
  return std::move(trial.candidate);
}

absl::Status CandidateSolver::SolveKept(Trial& trial) {
  const absl::Time start = clock_();
  absl::Time targets_done = start;
  BatchEditor::Callbacks callbacks;
  callbacks.progress = [&](SolvePhase phase, int done, int total) {
    if (phase == SolvePhase::kTargetValues) targets_done = clock_();
    v1::EditBatchStatus status = StatusAt(trial.entry.key, trial.batch_size(), v1::SOLVING);
    status.mutable_progress()->set_phase(ToProto(phase));
    status.mutable_progress()->set_done(done);
    status.mutable_progress()->set_total(total);
    hub_->Publish(status);
  };
  callbacks.cancelled = trial.stop;
  absl::StatusOr<BatchSolution> solution =
      engine_->Solve(trial.parent, trial.revision, trial.edits, callbacks);
  if (!solution.ok()) return FromEngine(solution.status());
  trial.candidate.solution = *std::move(solution);
  observer_->StageDone(EditStage::kTarget, targets_done - start);
  const absl::Duration keys = absl::Seconds(trial.candidate.solution.key_seconds);
  observer_->StageDone(EditStage::kKeys, keys);
  observer_->StageDone(EditStage::kSolve,
                       std::max(clock_() - targets_done - keys, absl::ZeroDuration()));
  // What the round before left is not to grow beside this one.
  trial.candidate.hooks.reset();
  absl::StatusOr<std::shared_ptr<const HookStack>> hooks =
      engine_->Extend(trial.parent, trial.revision, trial.candidate.solution.factors, 0);
  if (!hooks.ok()) return FromEngine(hooks.status());
  trial.candidate.hooks = *std::move(hooks);
  if (trial.stop()) return absl::CancelledError("told to stop");
  return absl::OkStatus();
}

absl::Status CandidateSolver::JudgeKept(Trial& trial) {
  v1::EditBatchStatus staged = StatusAt(trial.entry.key, trial.batch_size(), v1::STAGED);
  staged.set_revision(trial.revision.value());
  hub_->Publish(staged);
  const absl::Time start = clock_();
  const BatchSolution& solution = trial.candidate.solution;
  GateRequest request;
  request.before = trial.parent;
  request.after = trial.candidate.hooks;
  request.edits = trial.edits;
  request.targets = solution.targets;
  request.retained = ChooseRetained(*store_, *engine_, trial.parent, trial.edits, solution.overlaps,
                                    static_cast<uint64_t>(trial.revision.value()));
  request.thresholds = trial.entry.thresholds;
  absl::StatusOr<GateResult> gate = engine_->Gate(request);
  if (!gate.ok()) return FromEngine(gate.status());
  trial.candidate.gate = *std::move(gate);
  std::vector<EditVerdict>& verdicts = trial.candidate.gate.edits;
  AddOverlaps(*store_, trial.revision, trial.edits, solution.overlaps, &verdicts);
  for (EditVerdict& verdict : verdicts) {
    verdict.index = trial.kept[static_cast<size_t>(verdict.index)];
  }
  observer_->StageDone(EditStage::kGate, clock_() - start);
  return absl::OkStatus();
}

bool CandidateSolver::DropFailing(Trial& trial) {
  GateResult& gate = trial.candidate.gate;
  if (trial.entry.failure != FailurePolicy::kDropFailing || trial.drops == kMaxDrops) return false;
  std::vector<int32_t> kept;
  std::vector<Edit> edits;
  for (size_t i = 0; i < gate.edits.size(); ++i) {
    if (Fails(gate.edits[i], gate.verdict)) {
      trial.dropped.push_back(gate.edits[i]);
      trial.dropped.back().dropped = true;
    } else {
      kept.push_back(trial.kept[i]);
      edits.push_back(trial.edits[i]);
    }
  }
  if (kept.size() == trial.kept.size()) return false;
  trial.kept = std::move(kept);
  trial.edits = std::move(edits);
  ++trial.drops;
  if (!trial.kept.empty()) return true;
  gate.edits.clear();
  gate.accepted = gate.verdict.passed = false;
  gate.verdict.failures.push_back("no edit is left");
  return false;
}

void ReportGate(const GateResult& gate, EditObserver* observer) {
  const GateVerdict& verdict = gate.verdict;
  const GateThresholds& thresholds = verdict.thresholds;
  const std::optional<double>& change = verdict.perplexity_change;
  const bool fluent =
      !change || !thresholds.max_perplexity_change || *change <= *thresholds.max_perplexity_change;
  const auto reaches = [](const std::optional<double>& score, double threshold) {
    return !score || *score >= threshold;
  };
  const struct {
    GateCheck check;
    std::optional<double> score;
    bool holds;
  } checks[] = {
      {GateCheck::kReliability, verdict.scores.reliability,
       reaches(verdict.scores.reliability, thresholds.reliability)},
      {GateCheck::kGenerality, verdict.scores.generality,
       reaches(verdict.scores.generality, thresholds.generality)},
      {GateCheck::kLocality, verdict.scores.locality,
       reaches(verdict.scores.locality, thresholds.locality)},
      {GateCheck::kBackground, verdict.background,
       reaches(verdict.background, thresholds.background)},
      {GateCheck::kFluency, change, fluent},
      {GateCheck::kRetention, verdict.retention, reaches(verdict.retention, thresholds.retention)},
  };
  bool failed = false;
  for (const auto& [check, score, holds] : checks) {
    if (!score) continue;
    observer->GateScore(check, *score);
    if (holds) continue;
    failed = true;
    if (!gate.accepted) observer->GateRejected(check);
  }
  const bool finite = std::all_of(gate.edits.begin(), gate.edits.end(),
                                  [](const EditVerdict& edit) { return AllFinite(edit); });
  if (!gate.accepted && !failed && !finite) observer->GateRejected(GateCheck::kFinite);
}

}  // namespace amend
