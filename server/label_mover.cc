#include "server/label_mover.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/errors.h"
#include "server/proto_conversion.h"
#include "server/revision_errors.h"

namespace amend {
namespace {

// Whether one more label may be made.
absl::Status CheckRoom(const RevisionStore& store) {
  const absl::StatusOr<std::vector<LabelRecord>> labels = store.ListLabels();
  if (!labels.ok()) return FromStore(labels.status());
  if (static_cast<int>(labels->size()) < LabelMover::kMaxLabels) return absl::OkStatus();
  return WithReason(
      absl::ResourceExhaustedError(absl::StrCat("there are ", labels->size(), " labels, at most ",
                                                LabelMover::kMaxLabels, " may be")),
      "TOO_MANY_LABELS");
}

PromotionResult ResultOf(const absl::Status& status) {
  if (status.ok()) return PromotionResult::kMoved;
  if (absl::IsAborted(status)) return PromotionResult::kConflict;
  return absl::IsNotFound(status) || absl::IsFailedPrecondition(status) ? PromotionResult::kRefused
                                                                        : PromotionResult::kFailed;
}

}  // namespace

absl::StatusOr<LabelRecord> FindLabel(const RevisionStore& store, const std::string& name) {
  absl::StatusOr<LabelRecord> label = store.GetLabel(name);
  if (absl::IsNotFound(label.status())) {
    return WithReason(label.status(), "LABEL_NOT_FOUND", {{"label", name}});
  }
  if (!label.ok()) return FromStore(label.status());
  return label;
}

absl::Status CheckServable(const RevisionStore& store, const ServingModel& serving,
                           Revision revision) {
  if (revision == kBaseRevision) return absl::OkStatus();
  const absl::StatusOr<RevisionRecord> record = store.GetRevision(revision);
  if (absl::IsNotFound(record.status())) return UnknownRevision(revision, store.LatestRevision());
  if (!record.ok()) return FromStore(record.status());
  if (record->state != RevisionState::kValidated) {
    return UnfitRevision(revision, "NOT_VALIDATED",
                         record->state == RevisionState::kRejected
                             ? "was rejected by the gate and cannot serve"
                             : "is not validated");
  }
  if (record->marks.purge_time_us != 0) return RevisionPurged(revision);
  if (record->marks.delete_time_us != 0) return RevisionDeleted(revision);
  if (!serving.Resolve(revision).ok()) {
    return UnfitRevision(revision, "NOT_RESIDENT", "is not served: it could not be read at start");
  }
  return absl::OkStatus();
}

absl::Status CheckEtag(const LabelRecord& label, const std::optional<std::string>& expected) {
  const std::string actual = EtagOf(label);
  if (!expected || *expected == actual) return absl::OkStatus();
  return WithReason(absl::AbortedError(absl::StrCat("label \"", label.name, "\" has etag ", actual,
                                                    ", not ", *expected, ": it stands at revision ",
                                                    label.revision.value())),
                    "LIVE_CHANGED",
                    {{"expected", *expected},
                     {"actual", actual},
                     {"revision", absl::StrCat(label.revision.value())}});
}

void ReportNorms(const RevisionStore& store, Revision from, Revision to, EditObserver* observer) {
  // A layer that the new revision has no edits at has none of its update either.
  std::map<LayerIndex, double> ratios;
  for (const Revision revision : {from, to}) {
    if (revision == kBaseRevision) continue;
    const absl::StatusOr<RevisionRecord> record = store.GetRevision(revision);
    if (!record.ok()) continue;
    for (const LayerNorm& norm : record->norms) {
      ratios[norm.layer] = revision == to ? norm.update_norm_ratio : 0;
    }
  }
  for (const auto& [layer, ratio] : ratios) observer->UpdateNormRatio(layer, ratio);
}

LabelMover::LabelMover(RevisionStore* store, ServingModel* serving, RevisionEventHub* changes,
                       EditObserver* observer, std::function<absl::Time()> clock)
    : store_(store),
      serving_(serving),
      changes_(changes),
      observer_(observer),
      clock_(std::move(clock)) {}

std::string LabelMover::NameOf(Verb verb) {
  switch (verb) {
    case Verb::kPromote:
      return "promote";
    case Verb::kRollback:
      return "rollback";
    case Verb::kSet:
      return "set_label";
  }
  return "";
}

absl::StatusOr<LabelMoved> LabelMover::Promote(const PromoteCommand& command) {
  absl::StatusOr<LabelMoved> moved = MoveTo(Verb::kPromote, command.label, command.revision,
                                            command.etag, command.reason, command.actor);
  observer_->Promoted(ResultOf(moved.status()));
  return moved;
}

absl::StatusOr<LabelMoved> LabelMover::Rollback(const RollbackCommand& command) {
  absl::StatusOr<LabelMoved> moved = CheckedRollback(command);
  if (moved.ok()) observer_->RolledBack();
  return moved;
}

absl::StatusOr<LabelMoved> LabelMover::Set(const SetLabelCommand& command) {
  return MoveTo(Verb::kSet, command.label, command.revision, command.etag, command.reason,
                command.actor);
}

absl::StatusOr<LabelRecord> LabelMover::Delete(const DeleteLabelCommand& command) {
  AMEND_ASSIGN_OR_RETURN(const LabelRecord label, FindLabel(*store_, command.label));
  AMEND_RETURN_IF_ERROR(CheckEtag(label, command.etag));
  StoreStep step;
  step.label_deletion = LabelDeletion{label.name, label.generation};
  step.audit = AuditRecord{command.actor,
                           "delete_label",
                           label.name,
                           label.revision,
                           label.revision,
                           command.reason,
                           absl::ToUnixMicros(clock_())};
  const absl::Status committed = store_->Commit(step);
  if (!committed.ok()) return FromStore(committed);
  serving_->RemoveLabel(label.name);
  changes_->Publish(LabelDeletedEvent(label));
  return label;
}

absl::StatusOr<LabelMoved> LabelMover::MoveTo(Verb verb, const std::string& name, Revision to,
                                              const std::optional<std::string>& etag,
                                              const std::string& reason, const std::string& actor) {
  absl::StatusOr<LabelRecord> label = store_->GetLabel(name);
  const bool is_new = absl::IsNotFound(label.status());
  if (is_new) label = LabelRecord{name, kBaseRevision, 0};
  if (!label.ok()) return FromStore(label.status());
  AMEND_RETURN_IF_ERROR(CheckServable(*store_, *serving_, to));
  AMEND_RETURN_IF_ERROR(CheckEtag(*label, etag));
  if (!is_new && label->revision == to) return LabelMoved{*label, label->revision};
  if (is_new) AMEND_RETURN_IF_ERROR(CheckRoom(*store_));
  return Move(verb, *label, is_new, to, reason, actor);
}

absl::StatusOr<LabelMoved> LabelMover::CheckedRollback(const RollbackCommand& command) {
  AMEND_ASSIGN_OR_RETURN(const LabelRecord label, FindLabel(*store_, command.label));
  AMEND_RETURN_IF_ERROR(CheckEtag(label, command.etag));
  Revision target;
  if (command.target) {
    target = *command.target;
    AMEND_RETURN_IF_ERROR(CheckServable(*store_, *serving_, target));
    const std::string stands = absl::StrCat("is not earlier than revision ", label.revision.value(),
                                            ", where label \"", label.name, "\" stands");
    if (target == label.revision) return UnfitRevision(target, "SAME_REVISION", stands);
    if (target > label.revision) return UnfitRevision(target, "NOT_EARLIER", stands);
  } else {
    if (label.revision == kBaseRevision) {
      return UnfitRevision(kBaseRevision, "NO_PREVIOUS_REVISION",
                           "is the unedited model and has no parent");
    }
    const absl::StatusOr<RevisionRecord> record = store_->GetRevision(label.revision);
    if (!record.ok()) return FromStore(record.status());
    target = record->parent;
    AMEND_RETURN_IF_ERROR(CheckServable(*store_, *serving_, target));
  }
  return Move(Verb::kRollback, label, /*is_new=*/false, target, command.reason, command.actor);
}

absl::StatusOr<LabelMoved> LabelMover::Move(Verb verb, const LabelRecord& from, bool is_new,
                                            Revision to, const std::string& reason,
                                            const std::string& actor) {
  StoreStep step;
  step.label = LabelMove{from.name, to, from.generation};
  step.audit = AuditRecord{
      actor, NameOf(verb), from.name, from.revision, to, reason, absl::ToUnixMicros(clock_())};
  if (verb == Verb::kPromote && from.name == kLiveLabel && to != kBaseRevision) {
    // The staged batch has come to its end too.
    const absl::StatusOr<RevisionRecord> record = store_->GetRevision(to);
    if (!record.ok()) return FromStore(record.status());
    if (!record->withdraws()) {
      absl::StatusOr<LedgerEntry> batch = store_->GetLedger(record->batch);
      if (batch.ok() && batch->state == BatchState::kValidated) {
        batch->state = BatchState::kLive;
        step.ledger = *std::move(batch);
      }
    }
  }
  const absl::Status committed = store_->Commit(step);
  if (!committed.ok()) return FromStore(committed);
  AMEND_RETURN_IF_ERROR(serving_->MoveLabel(from.name, to));
  // A new label does not begin at generation 1 after others were deleted.
  const absl::StatusOr<LabelRecord> label = store_->GetLabel(from.name);
  if (!label.ok()) return FromStore(label.status());
  changes_->Publish(
      LabelMovedEvent(*label, is_new ? std::nullopt : std::make_optional(from.revision)));
  if (from.name == kLiveLabel) {
    observer_->LiveRevisionChanged(to);
    ReportNorms(*store_, from.revision, to, observer_);
  }
  return LabelMoved{*label, from.revision, is_new};
}

}  // namespace amend
