#include "storage/step_rules.h"

#include <set>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "storage/revision_store.h"

namespace amend {
namespace {

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", absl::CHexEscape(text), "\"");
}

absl::Status CheckMatrix(Revision revision, LayerIndex layer, absl::string_view name,
                         const Matrix& matrix) {
  const auto values = static_cast<int64_t>(matrix.values.size());
  const bool fits =
      matrix.rows >= 0 && matrix.cols >= 0 &&
      (matrix.cols == 0 ? values == 0
                        : values % matrix.cols == 0 && values / matrix.cols == matrix.rows);
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("factors of revision ", revision.value(), ", layer ", layer.value(), ": ", name,
                   " is ", matrix.rows, " x ", matrix.cols, " but has ", values, " values"));
}

absl::Status CheckFactors(Revision revision, const RevisionFactors& factors) {
  std::set<LayerIndex> seen;
  for (const LayerFactors& layer : factors.layers) {
    if (!seen.insert(layer.layer).second) {
      return absl::InvalidArgumentError(absl::StrCat("factors of revision ", revision.value(),
                                                     ": layer ", layer.layer.value(),
                                                     " comes twice"));
    }
    if (layer.layer.value() < 0) {
      return absl::InvalidArgumentError(absl::StrCat("factors of revision ", revision.value(),
                                                     ": layer ", layer.layer.value(),
                                                     " is negative"));
    }
    AMEND_RETURN_IF_ERROR(CheckMatrix(revision, layer.layer, "u", layer.u));
    AMEND_RETURN_IF_ERROR(CheckMatrix(revision, layer.layer, "v", layer.v));
    AMEND_RETURN_IF_ERROR(CheckMatrix(revision, layer.layer, "keys", layer.keys));
  }
  return absl::OkStatus();
}

// A revision that withdraws edits is its parent without them.
absl::Status CheckWithdrawal(const StoreStep& step) {
  const RevisionRecord& record = *step.revision;
  const std::string name = absl::StrCat("revision ", record.revision.value(), " withdraws edits");
  if (step.factors.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(name, " but comes with factors"));
  }
  if (record.edit_count != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " but brings ", record.edit_count, " of its own"));
  }
  EditId last;
  for (const EditId& edit : record.withdrawn) {
    if (edit.revision <= kBaseRevision || edit.revision > record.parent || edit.index < 0) {
      return absl::InvalidArgumentError(absl::StrCat(name, ", but ", edit.ToString(),
                                                     " cannot be one of its parent's, revision ",
                                                     record.parent.value()));
    }
    if (!(last < edit)) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ", but ", edit.ToString(), " follows ", last.ToString()));
    }
    last = edit;
  }
  return absl::OkStatus();
}

absl::Status CheckRevision(const StoreStep& step, const StepFacts& facts) {
  const Revision latest = facts.latest;
  const RevisionRecord& record = *step.revision;
  if (record.revision != latest.Next()) {
    return absl::InvalidArgumentError(absl::StrCat("revision ", record.revision.value(),
                                                   " does not follow the latest revision ",
                                                   latest.value()));
  }
  if (record.parent < kBaseRevision || record.parent > latest) {
    return absl::InvalidArgumentError(
        absl::StrCat("revision ", record.revision.value(), " has parent ", record.parent.value(),
                     ", but the latest revision is ", latest.value()));
  }
  if (facts.parent_purged) {
    return absl::InvalidArgumentError(absl::StrCat("revision ", record.revision.value(),
                                                   " has parent ", record.parent.value(),
                                                   ", which is purged"));
  }
  if (record.withdraws()) return CheckWithdrawal(step);
  const bool rejected = record.state == RevisionState::kRejected;
  if (rejected && step.factors.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("revision ", record.revision.value(), " is rejected but comes with factors"));
  }
  if (!rejected && !step.factors.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("revision ", record.revision.value(),
                                                   " is not rejected but comes without factors"));
  }
  return step.factors.has_value() ? CheckFactors(record.revision, *step.factors) : absl::OkStatus();
}

absl::Status CheckLedger(const LedgerEntry& entry, const std::optional<BatchState>& stored) {
  if (!stored.has_value()) return LedgerNotFound(entry.key);
  if (IsTerminal(*stored) && !IsTerminal(entry.state)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "session ", Quoted(entry.key.session), " offset ", entry.key.offset, " is in state ",
        static_cast<int>(*stored), " and cannot go back to state ", static_cast<int>(entry.state)));
  }
  return absl::OkStatus();
}

absl::Status CheckLabel(const StoreStep& step, const StepFacts& facts) {
  const LabelMove& move = *step.label;
  if (move.name.empty()) return absl::InvalidArgumentError("the name of the label is empty");
  if (move.expected_generation.has_value() && *move.expected_generation != facts.label_generation) {
    return absl::AbortedError(absl::StrCat("label ", Quoted(move.name), " is at generation ",
                                           facts.label_generation, ", not at ",
                                           *move.expected_generation));
  }
  if (move.to == kBaseRevision) return absl::OkStatus();
  const bool is_new = step.revision.has_value() && step.revision->revision == move.to;
  const std::optional<RevisionState> state =
      is_new ? step.revision->state : facts.label_target_state;
  if (!state.has_value()) return RevisionNotFound(move.to, facts.latest);
  if (*state != RevisionState::kValidated) {
    return absl::InvalidArgumentError(
        absl::StrCat("label ", Quoted(move.name), " cannot move to revision ", move.to.value(),
                     ": its state is ", static_cast<int>(*state), ", not ",
                     static_cast<int>(RevisionState::kValidated), " (validated)"));
  }
  if (facts.label_target_deleted) {
    return absl::InvalidArgumentError(absl::StrCat("label ", Quoted(move.name),
                                                   " cannot move to revision ", move.to.value(),
                                                   ": it is deleted"));
  }
  return absl::OkStatus();
}

absl::Status CheckLabelDeletion(const StoreStep& step, const StepFacts& facts) {
  const LabelDeletion& deletion = *step.label_deletion;
  if (step.label) return absl::InvalidArgumentError("the step moves a label and deletes one");
  if (deletion.name == kLiveLabel) {
    return absl::InvalidArgumentError(
        absl::StrCat("label ", Quoted(kLiveLabel), " cannot be deleted"));
  }
  if (!facts.deleted_label_generation.has_value()) return LabelNotFound(deletion.name);
  if (deletion.expected_generation.has_value() &&
      *deletion.expected_generation != *facts.deleted_label_generation) {
    return absl::AbortedError(absl::StrCat("label ", Quoted(deletion.name), " is at generation ",
                                           *facts.deleted_label_generation, ", not at ",
                                           *deletion.expected_generation));
  }
  return absl::OkStatus();
}

absl::Status CheckMarks(const StoreStep& step, const StepFacts& facts) {
  const RevisionMarks& wanted = step.marks->marks;
  const std::string name = absl::StrCat("revision ", step.marks->revision.value());
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(name, " ", why));
  };
  if (step.revision || step.label) {
    return refuse("gets marks in a step with a new revision or a label's move");
  }
  if (!facts.marked_state.has_value()) return RevisionNotFound(step.marks->revision, facts.latest);
  if (facts.marks.purge_time_us != 0) return refuse("is purged, which is for ever");
  if (wanted.delete_time_us == 0 && wanted.purge_time_us == 0) return absl::OkStatus();
  if (*facts.marked_state != RevisionState::kValidated) {
    return refuse("is not validated: there is nothing to delete");
  }
  if (!facts.label_on_marked.empty()) {
    return refuse(absl::StrCat("has label ", Quoted(facts.label_on_marked), " and cannot go"));
  }
  if (wanted.purge_time_us == 0) return absl::OkStatus();
  if (facts.marks.delete_time_us == 0) return refuse("is not deleted and cannot be purged");
  return wanted.pinned ? refuse("is pinned and cannot be purged") : absl::OkStatus();
}

}  // namespace

absl::Status CheckStep(const StoreStep& step, const StepFacts& facts) {
  if (!step.revision && !step.factors && !step.ledger && !step.label && !step.label_deletion &&
      !step.marks && !step.audit) {
    return absl::InvalidArgumentError("the step is empty");
  }
  if (step.revision) {
    AMEND_RETURN_IF_ERROR(CheckRevision(step, facts));
  } else if (step.factors) {
    return absl::InvalidArgumentError("the step has factors but no revision");
  }
  if (step.ledger) AMEND_RETURN_IF_ERROR(CheckLedger(*step.ledger, facts.ledger_state));
  if (step.label) AMEND_RETURN_IF_ERROR(CheckLabel(step, facts));
  if (step.label_deletion) AMEND_RETURN_IF_ERROR(CheckLabelDeletion(step, facts));
  if (step.marks) AMEND_RETURN_IF_ERROR(CheckMarks(step, facts));
  return absl::OkStatus();
}

int64_t NextGeneration(std::optional<int64_t> generation, int64_t floor) {
  return generation.value_or(floor) + 1;
}

absl::Status CheckAppend(const LedgerEntry& entry, int64_t next_offset) {
  const std::string name =
      absl::StrCat("session ", Quoted(entry.key.session), " offset ", entry.key.offset);
  if (entry.state != BatchState::kDurable && entry.state != BatchState::kFailed) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": a new batch is in state ", static_cast<int>(BatchState::kDurable), " or ",
        static_cast<int>(BatchState::kFailed), ", not ", static_cast<int>(entry.state)));
  }
  if (entry.key.offset < 0) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is negative"));
  }
  if (entry.key.offset < next_offset) {
    return absl::AlreadyExistsError(
        absl::StrCat(name, " is stored already; the next offset is ", next_offset));
  }
  if (entry.key.offset > next_offset) {
    return absl::OutOfRangeError(
        absl::StrCat(name, " leaves a gap; the next offset is ", next_offset));
  }
  return absl::OkStatus();
}

absl::Status LedgerNotFound(const BatchKey& key) {
  return absl::NotFoundError(
      absl::StrCat("no batch at session ", Quoted(key.session), " offset ", key.offset));
}

absl::Status RevisionNotFound(Revision revision, Revision latest) {
  return absl::NotFoundError(absl::StrCat("no record of revision ", revision.value(),
                                          "; the latest revision is ", latest.value()));
}

absl::Status FactorsNotFound(Revision revision) {
  return absl::NotFoundError(absl::StrCat("revision ", revision.value(), " has no factors"));
}

absl::Status LabelNotFound(absl::string_view name) {
  return absl::NotFoundError(absl::StrCat("no label ", Quoted(name)));
}

absl::Status AlreadyInitialized(const StoreIdentity& identity) {
  return absl::FailedPreconditionError(absl::StrCat("the store belongs already to model ",
                                                    Quoted(identity.model_name), " (",
                                                    identity.model_fingerprint, ")"));
}

}  // namespace amend
