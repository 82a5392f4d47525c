#ifndef AMEND_CORE_EDITING_BATCH_EDITOR_H_
#define AMEND_CORE_EDITING_BATCH_EDITOR_H_

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/background_factors.h"
#include "core/editing/edit.h"
#include "core/editing/edit_settings.h"
#include "core/editing/factors.h"
#include "core/editing/hook_stack.h"
#include "core/editing/key_covariance.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

enum class SolvePhase { kTargetValues, kLayerUpdates };

// Another edit fires at a new edit's key about as it does at its own: the two cannot be told apart
// at the first edited layer, and what they write there adds up.
struct KeyOverlap {
  // The new edit's place in its batch.
  int32_t edit = 0;
  // The other one: an edit of the line, or else edit `other` of the same batch.
  std::optional<EditId> earlier;
  int32_t other = -1;
  // What the other edit's v gives the new edit's key, over what it gives its own.
  double activation = 0;
};

// From this activation on two keys count as one. Edits whose text up to the subject's end is the
// same have 1.00; of 4.5 million pairs of CounterFact edits with different subjects 5 reach it, of
// 2.4 million of the demo model's facts none (docs/evaluation.md).
inline constexpr double kSharedKey = 0.95;
// Of an edit whose key many share the latest are named.
inline constexpr int kMaxOverlaps = 8;

// What one batch became.
struct BatchSolution {
  RevisionFactors factors;
  // Of the time that solving took: the forwards that give the edits' keys.
  double key_seconds = 0;
  // Per edit, in order.
  std::vector<TargetReport> targets;
  // By edit; for each the latest first: those of its batch, then those of the line. At most
  // kMaxOverlaps for one edit.
  std::vector<KeyOverlap> overlaps;
};

// The state that consecutive batches of one line share. Per edited layer: a KeySolver, which stands
// for C = lambda * Cov + sum of k k' over all edits so far (see there for what it keeps: up to 2.5
// d_in^2 bytes, and once a quarter of d_in keys were appended another 4 d_in^2). A new line keeps
// nothing of its own. Not thread-safe; owned by the coordinator thread.
class EditLine {
 public:
  ~EditLine();
  // Adds the keys of a batch that is now part of the line. Cheap: the next Solve takes in all that
  // was appended since the last one together.
  absl::Status Append(const RevisionFactors& factors);

 private:
  friend class BatchEditor;
  struct State;
  explicit EditLine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Solves batches of edits (arXiv 2403.05330, algorithm 1): target values, then layer by layer keys,
// residuals and factors. Knows nothing of revisions on disk or of RPCs. Thread-compatible: const,
// but one Solve at a time makes sense.
class BatchEditor {
 public:
  struct Callbacks {
    // Called between steps with what is done so far; `done` <= `total`.
    std::function<void(SolvePhase phase, int done, int total)> progress;
    // Called between steps; true makes Solve return CANCELLED.
    std::function<bool()> cancelled;
  };

  // INVALID_ARGUMENT, naming both values, when settings, factors and model do not fit each other.
  static absl::StatusOr<std::unique_ptr<BatchEditor>> Create(
      std::shared_ptr<const CausalLm> model, std::shared_ptr<const Tokenizer> tokenizer,
      EditSettings settings, BackgroundFactors background);
  // Makes the factors first. Also FAILED_PRECONDITION for a singular covariance, see
  // FactorBackground.
  static absl::StatusOr<std::unique_ptr<BatchEditor>> Create(
      std::shared_ptr<const CausalLm> model, std::shared_ptr<const Tokenizer> tokenizer,
      EditSettings settings, KeyCovariance covariance);
  ~BatchEditor();

  const EditSettings& settings() const;

  // The line that begins at the unedited model.
  std::unique_ptr<EditLine> NewLine() const;

  // Solves one batch of at least one edit on top of `parent`, whose keys are those in `line`.
  // `line` and `parent` stay as they are: the caller appends the factors when the batch is
  // accepted. INVALID_ARGUMENT for edits that ValidateEdits turns down; ABORTED with "not finite"
  // when the solution is not finite; CANCELLED.
  absl::StatusOr<BatchSolution> Solve(const EditLine& line,
                                      const std::shared_ptr<const HookStack>& parent,
                                      absl::Span<const Edit> edits,
                                      const Callbacks& callbacks) const;

 private:
  struct State;
  explicit BatchEditor(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_BATCH_EDITOR_H_
