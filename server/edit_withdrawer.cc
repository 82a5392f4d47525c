#include "server/edit_withdrawer.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/editing/factors.h"
#include "server/candidate_solver.h"
#include "server/errors.h"
#include "server/label_mover.h"
#include "server/line_edits.h"
#include "server/out_of_memory.h"
#include "server/revision_errors.h"
#include "server/revision_line.h"

namespace amend {

struct EditWithdrawer::Work {
  const WithdrawCommand& command;
  // In order of the line.
  std::vector<EditId> edits;
  // Where the label stood.
  LabelRecord label;
  // The line of the new revision's parent.
  std::vector<RevisionRecord> line;
  std::shared_ptr<const Snapshot> before;
  std::shared_ptr<const HookStack> after;
  GateResult gate;
  RevisionRecord record;

  bool promotes() const { return command.promotion == PromotionPolicy::kWhenValidated; }
  Revision parent() const { return before->revision; }
};

namespace {

std::string NameOf(const EditId& edit) {
  return absl::StrCat("edit ", edit.index, " of revision ", edit.revision.value());
}

absl::Status AboutEdit(absl::Status status, const std::string& reason, const EditId& edit) {
  return WithReason(std::move(status), reason,
                    {{"revision", absl::StrCat(edit.revision.value())},
                     {"edit_index", absl::StrCat(edit.index)}});
}

absl::Status EditNotFound(const EditId& edit, const std::string& why) {
  return AboutEdit(absl::NotFoundError(absl::StrCat(NameOf(edit), " does not exist: ", why)),
                   "EDIT_NOT_FOUND", edit);
}

absl::Status UnfitEdit(const EditId& edit, const std::string& reason, const std::string& why) {
  return WithPreconditionFailure(
      AboutEdit(absl::FailedPreconditionError(absl::StrCat(NameOf(edit), " ", why)), reason, edit),
      reason, NameOf(edit), why);
}

// Places of the edits in their revisions.
std::map<Revision, std::set<int32_t>> ByRevision(const std::vector<EditId>& edits) {
  std::map<Revision, std::set<int32_t>> places;
  for (const EditId& edit : edits) places[edit.revision].insert(edit.index);
  return places;
}

const RevisionRecord* Find(const std::vector<RevisionRecord>& line, Revision revision) {
  for (const RevisionRecord& record : line) {
    if (record.revision == revision) return &record;
  }
  return nullptr;
}

}  // namespace

EditWithdrawer::EditWithdrawer(RevisionStore* store, EditEngine* engine, ServingModel* serving,
                               RevisionEventHub* changes, EditObserver* observer, Options options)
    : store_(store),
      engine_(engine),
      serving_(serving),
      changes_(changes),
      observer_(observer),
      options_(std::move(options)) {}

absl::StatusOr<EditsWithdrawn> EditWithdrawer::Withdraw(const WithdrawCommand& command) {
  for (int tries = 1;; ++tries) {
    Work work{command, command.edits, {}, {}, nullptr, nullptr, {}, {}};
    std::sort(work.edits.begin(), work.edits.end());
    AMEND_RETURN_IF_ERROR(FindParent(work));
    AMEND_RETURN_IF_ERROR(CheckEdits(work));
    const bool last_try = tries >= options_.max_tries;
    absl::Status made;
    options_.run_aside(last_try, [&] {
      // Errors of the store have reasons already.
      made =
          FromMemory(CatchOutOfMemory("making a withdrawal", [&] { return MakeCandidate(work); }));
    });
    // First of all: an error may come of it.
    if (!last_try && BaseChangedUnder(work)) continue;
    AMEND_RETURN_IF_ERROR(made);
    // It may have moved under what does not move it.
    AMEND_ASSIGN_OR_RETURN(work.label, FindLabel(*store_, command.label));
    if (!command.validate_only) {
      AMEND_RETURN_IF_ERROR(Commit(work));
      Publish(work);
    }
    return EditsWithdrawn{std::move(work.record), std::move(work.label)};
  }
}

bool EditWithdrawer::BaseChangedUnder(const Work& work) const {
  // What was staged keeps its parent, wherever the label goes, as long as that is there.
  if (!work.promotes()) return !serving_->Resolve(work.parent()).ok();
  const absl::StatusOr<LabelRecord> label = store_->GetLabel(work.command.label);
  return !label.ok() || label->generation != work.label.generation;
}

absl::Status EditWithdrawer::FindParent(Work& work) const {
  const std::string& name = work.command.label;
  AMEND_ASSIGN_OR_RETURN(work.label, FindLabel(*store_, name));
  AMEND_RETURN_IF_ERROR(CheckEtag(work.label, work.command.etag));
  const Revision parent = work.command.revision.value_or(work.label.revision);
  AMEND_RETURN_IF_ERROR(CheckServable(*store_, *serving_, parent));
  if (work.promotes() && parent != work.label.revision) {
    return UnfitRevision(
        parent, "NOT_AT_LABEL",
        absl::StrCat("is not where label \"", name, "\" stands (revision ",
                     work.label.revision.value(), "), so what is made of it can only be staged"));
  }
  AMEND_ASSIGN_OR_RETURN(work.before, serving_->Resolve(parent));
  absl::StatusOr<std::vector<RevisionRecord>> line = RecordsOf(*store_, parent);
  if (!line.ok()) return FromStore(line.status());
  work.line = *std::move(line);
  return absl::OkStatus();
}

absl::Status EditWithdrawer::CheckEdits(const Work& work) const {
  for (const EditId& edit : work.edits) {
    if (edit.revision <= kBaseRevision || edit.revision > store_->LatestRevision()) {
      return EditNotFound(
          edit, absl::StrCat("the latest revision is ", store_->LatestRevision().value()));
    }
    const absl::StatusOr<RevisionRecord> record = store_->GetRevision(edit.revision);
    if (!record.ok()) return FromStore(record.status());
    if (edit.index < 0 || edit.index >= record->edit_count) {
      return EditNotFound(edit, absl::StrCat("that one has ", record->edit_count, " edits"));
    }
    if (Find(work.line, edit.revision) == nullptr) {
      return UnfitEdit(edit, "EDIT_NOT_ON_LINE",
                       absl::StrCat("is not a part of revision ", work.parent().value()));
    }
    for (const RevisionRecord& later : work.line) {
      if (!std::binary_search(later.withdrawn.begin(), later.withdrawn.end(), edit)) continue;
      return UnfitEdit(edit, "ALREADY_WITHDRAWN",
                       absl::StrCat("is withdrawn by revision ", later.revision.value()));
    }
  }
  return absl::OkStatus();
}

absl::Status EditWithdrawer::MakeCandidate(Work& work) const {
  AMEND_ASSIGN_OR_RETURN(work.after, engine_->Without(work.before->hooks, work.edits));
  AMEND_ASSIGN_OR_RETURN(const GateRequest request, AskGate(work));
  AMEND_ASSIGN_OR_RETURN(work.gate, engine_->Gate(request));
  RevisionRecord& record = work.record;
  record.parent = work.parent();
  record.state = work.gate.accepted ? RevisionState::kValidated : RevisionState::kRejected;
  record.withdrawn = work.edits;
  record.line_edit_count =
      work.line.back().line_edit_count - static_cast<int64_t>(work.edits.size());
  record.gate = work.gate.verdict;
  record.norms = engine_->UpdateNorms(work.after);
  record.create_time_us = absl::ToUnixMicros(options_.clock());
  record.actor = work.command.principal;
  return absl::OkStatus();
}

absl::StatusOr<GateRequest> EditWithdrawer::AskGate(const Work& work) const {
  GateRequest request;
  request.before = work.before->hooks;
  request.after = work.after;
  AMEND_ASSIGN_OR_RETURN(const auto unedited, serving_->Resolve(kBaseRevision));
  request.unedited = unedited->hooks;
  AMEND_ASSIGN_OR_RETURN(request.withdrawn, ReadWithdrawn(work));
  AMEND_ASSIGN_OR_RETURN(request.retained, ChooseOthers(work));
  request.thresholds = options_.thresholds;
  request.thresholds.retention = 1;
  return request;
}

absl::StatusOr<std::vector<WithdrawnEdit>> EditWithdrawer::ReadWithdrawn(const Work& work) const {
  std::vector<WithdrawnEdit> withdrawn;
  for (const auto& [revision, places] : ByRevision(work.edits)) {
    const RevisionRecord& record = *Find(work.line, revision);
    const absl::StatusOr<LedgerEntry> entry = store_->GetLedger(record.batch);
    if (!entry.ok()) return FromStore(entry.status());
    const std::vector<Edit> edits = EditsOf(*entry);
    std::shared_ptr<const HookStack> preceding;
    const auto parent = serving_->Resident(record.parent);
    if (parent.ok()) preceding = (*parent)->hooks;
    // Others that are withdrawn with it count as never having been.
    const auto end = std::lower_bound(work.edits.begin(), work.edits.end(), EditId{revision, 0});
    if (parent.ok() && end != work.edits.begin()) {
      const std::vector<EditId> earlier(work.edits.begin(), end);
      AMEND_ASSIGN_OR_RETURN(preceding, engine_->Without(preceding, earlier));
    }
    for (const int32_t place : places) {
      if (place >= static_cast<int32_t>(edits.size())) {
        return FromStore(absl::DataLossError(
            absl::StrCat("the ledger lacks ", NameOf(EditId{revision, place}))));
      }
      withdrawn.push_back({EditId{revision, place}, edits[static_cast<size_t>(place)], preceding});
    }
  }
  return withdrawn;
}

absl::StatusOr<std::vector<RetainedEdit>> EditWithdrawer::ChooseOthers(const Work& work) const {
  std::set<EditId> chosen;
  for (const auto& [revision, places] : ByRevision(work.edits)) {
    absl::StatusOr<RevisionFactors> factors = store_->ReadFactors(revision);
    if (!factors.ok()) return FromStore(factors.status());
    std::set<int32_t> others;
    for (int32_t place = 0; place < Find(work.line, revision)->edit_count; ++place) {
      if (places.count(place) == 0) others.insert(place);
    }
    for (const EditId& edit : engine_->FiringAt(work.before->hooks, WithoutEdits(*factors, others)))
      chosen.insert(edit);
  }
  const auto seed = static_cast<uint64_t>(store_->LatestRevision().Next().value());
  for (const EditId& edit : engine_->SampleEdits(work.before->hooks, kRetainedEdits, seed))
    chosen.insert(edit);
  for (const EditId& edit : work.edits) chosen.erase(edit);
  LineEdits line(*store_);
  std::vector<RetainedEdit> others;
  for (const EditId& id : chosen) {
    if (const Edit* const edit = line.Find(id)) others.push_back({id, *edit});
  }
  return others;
}

absl::Status EditWithdrawer::Commit(Work& work) const {
  work.record.revision = store_->LatestRevision().Next();
  StoreStep step;
  step.revision = work.record;
  step.audit = AuditRecord{work.command.actor,
                           work.gate.accepted ? "withdraw" : "reject",
                           "",
                           work.record.revision,
                           work.record.revision,
                           work.command.reason,
                           work.record.create_time_us};
  const bool moves = work.gate.accepted && work.promotes();
  if (moves) {
    step.label = LabelMove{work.label.name, work.record.revision, work.label.generation};
    step.audit->label = work.label.name;
    step.audit->from = work.label.revision;
  }
  AMEND_RETURN_IF_ERROR(FromStore(store_->Commit(step)));
  if (moves) {
    work.label.revision = work.record.revision;
    ++work.label.generation;
  }
  return absl::OkStatus();
}

void EditWithdrawer::Publish(const Work& work) const {
  const Revision revision = work.record.revision;
  const auto count = static_cast<int>(work.edits.size());
  ReportGate(work.gate, observer_);
  if (work.gate.accepted) {
    serving_->AddRevision(std::make_shared<const Snapshot>(Snapshot{revision, work.after}));
  }
  changes_->Publish(
      RevisionChangedEvent(v1::WatchRevisionsResponse::RevisionChanged::CREATED, work.record));
  if (!work.gate.accepted) {
    observer_->EditsWithdrawn(BatchOutcome::kRejected, count);
    return;
  }
  if (!work.promotes()) {
    observer_->EditsWithdrawn(BatchOutcome::kValidated, count);
    return;
  }
  // It was added just now.
  serving_->MoveLabel(work.label.name, revision).IgnoreError();
  changes_->Publish(LabelMovedEvent(work.label, work.parent()));
  observer_->EditsWithdrawn(BatchOutcome::kLive, count);
  observer_->Promoted(PromotionResult::kMoved);
  if (work.label.name != kLiveLabel) return;
  observer_->LiveRevisionChanged(revision);
  ReportNorms(*store_, work.parent(), revision, observer_);
}

}  // namespace amend
