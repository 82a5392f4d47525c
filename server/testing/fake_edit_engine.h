#ifndef AMEND_SERVER_TESTING_FAKE_EDIT_ENGINE_H_
#define AMEND_SERVER_TESTING_FAKE_EDIT_ENGINE_H_

#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/edit_engine.h"

namespace amend {

// An engine without a model: hooks are null and factors have one column. What becomes of a batch is
// written in the target_new of its edits: "diverge" cannot be solved, "bad" has reliability 0.1,
// "nan" a loss that is not finite, "break" breaks every earlier edit; everything else is perfect.
// Edits with the same subject share their key. Owned by the coordinator; the accessors are
// thread-safe.
class FakeEditEngine : public EditEngine {
 public:
  static constexpr int kSteps = 3;

  // Called before each step of each solve, on the solver's thread. Set before the coordinator
  // starts.
  std::function<void(int step)> on_step;
  // What SampleEdits gives, where set; else the first edits of the line. Likewise.
  std::optional<std::vector<EditId>> sampled;
  // Edits that fire at a key, which is told by its first number. Likewise.
  std::multimap<float, EditId> firing_at;
  // Edits that do not hold in a candidate that withdraws any. Likewise.
  std::set<EditId> breaks_without;
  // Called when the gate begins. Likewise.
  std::function<void()> on_gate;

  // Called when the norms are asked for: the gate has spoken, nothing is written. Likewise.
  std::function<void()> on_norms;
  // Of each solve. Likewise.
  int steps = kSteps;
  // What each solution says of its keys.
  double key_seconds = 0;
  // Where set, in the place of what the targets say. Likewise.
  std::function<double(const Edit& edit)> reliability_of;

  // The line's head at the beginning of each solve so far.
  std::vector<Revision> solved_on() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return solved_on_;
  }
  // The revisions that were appended to the line since it was last reset.
  std::vector<Revision> line() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return line_;
  }

  // Keys of those.
  int64_t line_keys() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return line_keys_;
  }
  // Its spans are dead.
  GateRequest last_request() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return last_request_;
  }
  // What each revision was made of.
  std::map<Revision, RevisionFactors> extended() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return extended_;
  }
  // What each was told of its line.
  std::map<Revision, int64_t> line_edits() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return line_edits_;
  }
  // The edits of each call of Without so far.
  std::vector<std::vector<EditId>> left_out() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return left_out_;
  }

  Revision line_head() const override {
    absl::MutexLock lock(&mutex_);
    return line_.empty() ? kBaseRevision : line_.back();
  }
  void ResetLine() override {
    absl::MutexLock lock(&mutex_);
    line_.clear();
    line_keys_ = 0;
  }
  absl::Status AppendToLine(Revision revision, const RevisionFactors& factors) override {
    absl::MutexLock lock(&mutex_);
    line_.push_back(revision);
    if (!factors.layers.empty()) line_keys_ += factors.layers[0].keys.rows;
    return absl::OkStatus();
  }

  absl::StatusOr<BatchSolution> Solve(const std::shared_ptr<const HookStack>& /*parent*/,
                                      Revision candidate, absl::Span<const Edit> edits,
                                      const BatchEditor::Callbacks& callbacks) override {
    {
      absl::MutexLock lock(&mutex_);
      solved_on_.push_back(line_.empty() ? kBaseRevision : line_.back());
    }
    for (int step = 0; step < steps; ++step) {
      if (on_step) on_step(step);
      callbacks.progress(SolvePhase::kTargetValues, step + 1, steps);
      if (callbacks.cancelled()) return absl::CancelledError("told to stop");
    }
    BatchSolution solution;
    solution.key_seconds = key_seconds;
    AddOverlaps(candidate, edits, solution);
    for (const Edit& edit : edits) {
      if (edit.target_new == "diverge") return absl::AbortedError("not finite");
      const double loss =
          edit.target_new == "nan" ? std::numeric_limits<double>::quiet_NaN() : 0.01;
      solution.targets.push_back({loss, kSteps});
    }
    solution.factors.layers.resize(1);
    LayerFactors& layer = solution.factors.layers[0];
    layer.activations.assign(edits.size(), 1);
    layer.u = {static_cast<int64_t>(edits.size()), 1, layer.activations};
    layer.v = layer.keys = layer.u;
    return solution;
  }

  absl::StatusOr<std::shared_ptr<const HookStack>> Extend(
      const std::shared_ptr<const HookStack>& /*parent*/, Revision revision,
      const RevisionFactors& factors, int64_t line_edits) override {
    absl::MutexLock lock(&mutex_);
    extended_[revision] = factors;
    line_edits_[revision] = line_edits;
    return std::shared_ptr<const HookStack>();
  }

  absl::StatusOr<std::shared_ptr<const HookStack>> Without(
      const std::shared_ptr<const HookStack>& /*parent*/, absl::Span<const EditId> edits) override {
    absl::MutexLock lock(&mutex_);
    left_out_.emplace_back(edits.begin(), edits.end());
    return std::shared_ptr<const HookStack>();
  }

  // The first ones of the line.
  std::vector<EditId> SampleEdits(const std::shared_ptr<const HookStack>& /*hooks*/, int count,
                                  uint64_t /*seed*/) override {
    if (sampled.has_value()) return *sampled;
    absl::MutexLock lock(&mutex_);
    std::vector<EditId> sample;
    for (const Revision revision : line_) {
      for (size_t i = 0; i < edits_[revision].size(); ++i) {
        if (static_cast<int>(sample.size()) == count) return sample;
        sample.push_back(EditId{revision, static_cast<int32_t>(i)});
      }
    }
    return sample;
  }

  std::vector<EditId> FiringAt(const std::shared_ptr<const HookStack>& /*hooks*/,
                               const RevisionFactors& factors) override {
    std::vector<EditId> firing;
    for (const LayerFactors& layer : factors.layers) {
      for (int64_t row = 0; row < layer.keys.rows; ++row) {
        const float key = layer.keys.values[static_cast<size_t>(row * layer.keys.cols)];
        const auto [first, last] = firing_at.equal_range(key);
        for (auto it = first; it != last; ++it) firing.push_back(it->second);
      }
    }
    return firing;
  }

  absl::StatusOr<GateResult> Gate(const GateRequest& request) override {
    {
      absl::MutexLock lock(&mutex_);
      last_request_ = request;
    }
    if (on_gate) on_gate();
    GateMeasurements measured;
    double sum = 0;
    bool breaks = false;
    for (const Edit& edit : request.edits) {
      measured.edits.emplace_back();
      const bool bad = edit.target_new == "bad";
      measured.edits.back().reliability = reliability_of ? reliability_of(edit) : (bad ? 0.1 : 1.0);
      sum += *measured.edits.back().reliability;
      breaks = breaks || edit.target_new == "break";
    }
    if (!request.edits.empty()) {
      measured.means.reliability = sum / static_cast<double>(request.edits.size());
    }
    for (const RetainedEdit& earlier : request.retained) {
      ++measured.retained_edits;
      if (breaks || (!request.withdrawn.empty() && breaks_without.count(earlier.id) > 0))
        measured.broken_edits.push_back(earlier.id);
    }
    for (const WithdrawnEdit& edit : request.withdrawn) {
      const bool stays = edit.edit.target_new == "stays";
      measured.withdrawn.push_back({edit.id, true, stays, !stays, true});
    }
    return JudgeMeasurements(measured, request.targets, request.thresholds, /*enforced=*/true);
  }

  std::vector<LayerNorm> UpdateNorms(const std::shared_ptr<const HookStack>& /*hooks*/) override {
    if (on_norms) on_norms();
    return {LayerNorm{LayerIndex(0), 0.25}};
  }

 private:
  // Edits with the same subject share their key.
  void AddOverlaps(Revision candidate, absl::Span<const Edit> edits, BatchSolution& solution)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    for (size_t i = 0; i < edits.size(); ++i) {
      const auto edit = static_cast<int32_t>(i);
      for (size_t j = 0; j < edits.size(); ++j) {
        if (j != i && edits[j].subject == edits[i].subject)
          solution.overlaps.push_back({edit, {}, static_cast<int32_t>(j), 1});
      }
      for (auto revision = line_.rbegin(); revision != line_.rend(); ++revision) {
        const std::vector<Edit>& earlier = edits_[*revision];
        for (size_t j = 0; j < earlier.size(); ++j) {
          if (earlier[j].subject != edits[i].subject) continue;
          solution.overlaps.push_back({edit, EditId{*revision, static_cast<int32_t>(j)}, -1, 0.97});
        }
      }
    }
    edits_[candidate].assign(edits.begin(), edits.end());
  }

  mutable absl::Mutex mutex_;
  std::map<Revision, std::vector<Edit>> edits_ ABSL_GUARDED_BY(mutex_);
  std::vector<Revision> solved_on_ ABSL_GUARDED_BY(mutex_);
  std::vector<Revision> line_ ABSL_GUARDED_BY(mutex_);
  int64_t line_keys_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::vector<EditId>> left_out_ ABSL_GUARDED_BY(mutex_);
  std::map<Revision, RevisionFactors> extended_ ABSL_GUARDED_BY(mutex_);
  std::map<Revision, int64_t> line_edits_ ABSL_GUARDED_BY(mutex_);
  GateRequest last_request_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_TESTING_FAKE_EDIT_ENGINE_H_
