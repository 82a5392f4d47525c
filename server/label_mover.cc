#include "server/label_mover.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/errors.h"

namespace amend {
namespace {

absl::Status UnknownRevision(Revision revision, Revision latest) {
  return WithReason(
      absl::NotFoundError(absl::StrCat("revision ", revision.value(),
                                       " does not exist; the latest is ", latest.value())),
      "REVISION_NOT_FOUND",
      {{"revision", absl::StrCat(revision.value())}, {"latest", absl::StrCat(latest.value())}});
}

absl::Status Unfit(Revision revision, const std::string& reason, const std::string& why) {
  const std::string name = absl::StrCat("revision ", revision.value());
  return WithPreconditionFailure(
      WithReason(absl::FailedPreconditionError(absl::StrCat(name, " ", why)), reason,
                 {{"revision", absl::StrCat(revision.value())}}),
      reason, name, why);
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

PromotionResult ResultOf(const absl::Status& status) {
  if (status.ok()) return PromotionResult::kMoved;
  if (absl::IsAborted(status)) return PromotionResult::kConflict;
  return absl::IsNotFound(status) || absl::IsFailedPrecondition(status) ? PromotionResult::kRefused
                                                                        : PromotionResult::kFailed;
}

}  // namespace

std::string EtagOf(const LabelRecord& label) { return absl::StrCat(label.generation); }

LabelMover::LabelMover(RevisionStore* store, ServingModel* serving, EditObserver* observer,
                       std::function<absl::Time()> clock)
    : store_(store), serving_(serving), observer_(observer), clock_(std::move(clock)) {}

absl::StatusOr<LabelMoved> LabelMover::Promote(const PromoteCommand& command) {
  absl::StatusOr<LabelMoved> moved = CheckedPromote(command);
  observer_->Promoted(ResultOf(moved.status()));
  return moved;
}

absl::StatusOr<LabelMoved> LabelMover::Rollback(const RollbackCommand& command) {
  absl::StatusOr<LabelMoved> moved = CheckedRollback(command);
  if (moved.ok()) observer_->RolledBack();
  return moved;
}

absl::StatusOr<LabelMoved> LabelMover::CheckedPromote(const PromoteCommand& command) {
  absl::StatusOr<LabelRecord> label = store_->GetLabel(command.label);
  const bool is_new = absl::IsNotFound(label.status());
  if (is_new) label = LabelRecord{command.label, kBaseRevision, 0};
  if (!label.ok()) return FromStore(label.status());
  AMEND_RETURN_IF_ERROR(CheckServable(command.revision));
  AMEND_RETURN_IF_ERROR(CheckEtag(*label, command.etag));
  if (!is_new && label->revision == command.revision) {
    return LabelMoved{*label, label->revision};
  }
  return Move(Verb::kPromote, *label, command.revision, command.reason, command.actor);
}

absl::StatusOr<LabelMoved> LabelMover::CheckedRollback(const RollbackCommand& command) {
  const absl::StatusOr<LabelRecord> label = store_->GetLabel(command.label);
  if (absl::IsNotFound(label.status())) {
    return WithReason(label.status(), "LABEL_NOT_FOUND", {{"label", command.label}});
  }
  if (!label.ok()) return FromStore(label.status());
  AMEND_RETURN_IF_ERROR(CheckEtag(*label, command.etag));
  Revision target;
  if (command.target) {
    target = *command.target;
    AMEND_RETURN_IF_ERROR(CheckServable(target));
    const std::string stands =
        absl::StrCat("is not earlier than revision ", label->revision.value(), ", where label \"",
                     label->name, "\" stands");
    if (target == label->revision) return Unfit(target, "SAME_REVISION", stands);
    if (target > label->revision) return Unfit(target, "NOT_EARLIER", stands);
  } else {
    if (label->revision == kBaseRevision) {
      return Unfit(kBaseRevision, "NO_PREVIOUS_REVISION",
                   "is the unedited model and has no parent");
    }
    const absl::StatusOr<RevisionRecord> record = store_->GetRevision(label->revision);
    if (!record.ok()) return FromStore(record.status());
    target = record->parent;
    AMEND_RETURN_IF_ERROR(CheckServable(target));
  }
  return Move(Verb::kRollback, *label, target, command.reason, command.actor);
}

absl::Status LabelMover::CheckServable(Revision revision) const {
  if (revision == kBaseRevision) return absl::OkStatus();
  const absl::StatusOr<RevisionRecord> record = store_->GetRevision(revision);
  if (absl::IsNotFound(record.status())) return UnknownRevision(revision, store_->LatestRevision());
  if (!record.ok()) return FromStore(record.status());
  if (record->state != RevisionState::kValidated) {
    return Unfit(revision, "NOT_VALIDATED",
                 record->state == RevisionState::kRejected
                     ? "was rejected by the gate and cannot serve"
                     : "is not validated");
  }
  if (!serving_->Resolve(revision).ok()) {
    return Unfit(revision, "NOT_RESIDENT", "is not served: it could not be read at start");
  }
  return absl::OkStatus();
}

void LabelMover::ReportNorms(Revision from, Revision to) const {
  // A layer that the new revision has no edits at has none of its update either.
  std::map<LayerIndex, double> ratios;
  for (const Revision revision : {from, to}) {
    if (revision == kBaseRevision) continue;
    const absl::StatusOr<RevisionRecord> record = store_->GetRevision(revision);
    if (!record.ok()) continue;
    for (const LayerNorm& norm : record->norms) {
      ratios[norm.layer] = revision == to ? norm.update_norm_ratio : 0;
    }
  }
  for (const auto& [layer, ratio] : ratios) observer_->UpdateNormRatio(layer, ratio);
}

absl::StatusOr<LabelMoved> LabelMover::Move(Verb verb, const LabelRecord& from, Revision to,
                                            const std::string& reason, const std::string& actor) {
  StoreStep step;
  step.label = LabelMove{from.name, to, from.generation};
  step.audit = AuditRecord{actor,
                           verb == Verb::kPromote ? "promote" : "rollback",
                           from.name,
                           from.revision,
                           to,
                           reason,
                           absl::ToUnixMicros(clock_())};
  if (verb == Verb::kPromote && from.name == kLiveLabel && to != kBaseRevision) {
    // The staged batch has come to its end too.
    const absl::StatusOr<RevisionRecord> record = store_->GetRevision(to);
    if (!record.ok()) return FromStore(record.status());
    absl::StatusOr<LedgerEntry> batch = store_->GetLedger(record->batch);
    if (batch.ok() && batch->state == BatchState::kValidated) {
      batch->state = BatchState::kLive;
      step.ledger = *std::move(batch);
    }
  }
  const absl::Status committed = store_->Commit(step);
  if (!committed.ok()) return FromStore(committed);
  AMEND_RETURN_IF_ERROR(serving_->MoveLabel(from.name, to));
  if (from.name == kLiveLabel) {
    observer_->LiveRevisionChanged(to);
    ReportNorms(from.revision, to);
  }
  return LabelMoved{LabelRecord{from.name, to, from.generation + 1}, from.revision};
}

}  // namespace amend
