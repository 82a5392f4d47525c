#ifndef AMEND_STORAGE_STEP_RULES_H_
#define AMEND_STORAGE_STEP_RULES_H_

// The rules of RevisionStore that do not depend on how things are kept: which writes fit, and the
// words of the errors. Every implementation calls these, so that all refuse the same things alike.
// Pure functions; thread-safe.

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/base/types.h"
#include "storage/records.h"

namespace amend {

// What a store holds of the things that a step touches.
struct StepFacts {
  Revision latest;
  // State of the stored entry with the key of step.ledger; absent when there is none.
  std::optional<BatchState> ledger_state;
  // Generation of the label that step.label moves; 0 when it does not exist.
  int64_t label_generation = 0;
  // State of the stored revision step.label->to; absent when there is none.
  std::optional<RevisionState> label_target_state;
  bool label_target_deleted = false;
  // Generation of the label that step.label_deletion deletes; absent when it does not exist.
  std::optional<int64_t> deleted_label_generation;
  // State and marks of the stored revision step.marks->revision; absent when there is none.
  std::optional<RevisionState> marked_state;
  RevisionMarks marks;
  // A label that stands on that revision; empty when there is none.
  std::string label_on_marked;
  // Whether the parent of step.revision is purged.
  bool parent_purged = false;
};

// Whether `step` fits; see RevisionStore::Commit.
absl::Status CheckStep(const StoreStep& step, const StepFacts& facts);

// Whether `entry` may be appended to a session whose next offset is `next_offset`; see
// RevisionStore::AppendLedger.
absl::Status CheckAppend(const LedgerEntry& entry, int64_t next_offset);

absl::Status LedgerNotFound(const BatchKey& key);
absl::Status RevisionNotFound(Revision revision, Revision latest);
// Generation of a label after a move: `generation` is that of before, absent for a new label, and
// `floor` the highest that a deleted label had.
int64_t NextGeneration(std::optional<int64_t> generation, int64_t floor);

absl::Status FactorsNotFound(Revision revision);
absl::Status LabelNotFound(absl::string_view name);
absl::Status AlreadyInitialized(const StoreIdentity& identity);

}  // namespace amend

#endif  // AMEND_STORAGE_STEP_RULES_H_
