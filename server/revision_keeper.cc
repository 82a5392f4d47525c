#include "server/revision_keeper.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/errors.h"
#include "server/revision_errors.h"

namespace amend {
namespace {

using Change = v1::WatchRevisionsResponse::RevisionChanged;

constexpr char kRetentionActor[] = "retention";
constexpr int kRecordsPerRead = 1000;

Change::Change ChangeOf(MarkCommand::Verb verb) {
  switch (verb) {
    case MarkCommand::Verb::kPin:
      return Change::PINNED;
    case MarkCommand::Verb::kUnpin:
      return Change::UNPINNED;
    case MarkCommand::Verb::kDelete:
      return Change::DELETED;
    case MarkCommand::Verb::kUndelete:
      return Change::UNDELETED;
  }
  return Change::CHANGE_UNSPECIFIED;
}

// As it stands in the audit trail.
std::string VerbOf(Change::Change change) {
  switch (change) {
    case Change::PINNED:
      return "pin";
    case Change::UNPINNED:
      return "unpin";
    case Change::DELETED:
      return "delete";
    case Change::UNDELETED:
      return "undelete";
    default:
      return "purge";
  }
}

RevisionMarks MarksAfter(RevisionMarks marks, MarkCommand::Verb verb, int64_t now_us) {
  switch (verb) {
    case MarkCommand::Verb::kPin:
      marks.pinned = true;
      break;
    case MarkCommand::Verb::kUnpin:
      marks.pinned = false;
      break;
    case MarkCommand::Verb::kDelete:
      // A second deletion does not begin the delay anew.
      if (marks.delete_time_us == 0) marks.delete_time_us = now_us;
      break;
    case MarkCommand::Verb::kUndelete:
      marks.delete_time_us = 0;
      break;
  }
  return marks;
}

}  // namespace

RevisionKeeper::RevisionKeeper(RevisionStore* store, ServingModel* serving,
                               RevisionEventHub* changes, const RetentionPolicy& policy,
                               std::function<absl::Time()> clock)
    : store_(store),
      serving_(serving),
      changes_(changes),
      policy_(policy),
      clock_(std::move(clock)) {}

absl::StatusOr<RevisionRecord> RevisionKeeper::Mark(const MarkCommand& command) {
  const Revision revision = command.revision;
  if (revision == kBaseRevision) {
    return UnfitRevision(revision, "UNEDITED_MODEL", "is the unedited model and always stays");
  }
  absl::StatusOr<RevisionRecord> record = store_->GetRevision(revision);
  if (absl::IsNotFound(record.status())) return UnknownRevision(revision, store_->LatestRevision());
  if (!record.ok()) return FromStore(record.status());
  if (record->marks.purge_time_us != 0) return RevisionPurged(revision);
  if (record->state != RevisionState::kValidated) {
    return UnfitRevision(revision, "NOT_VALIDATED",
                         "did not pass the gate: it has nothing to keep");
  }
  const RevisionMarks marks = MarksAfter(record->marks, command.verb, absl::ToUnixMicros(clock_()));
  if (marks == record->marks) return record;
  if (command.verb == MarkCommand::Verb::kDelete) AMEND_RETURN_IF_ERROR(CheckDeletion(*record));
  record->marks = marks;
  AMEND_RETURN_IF_ERROR(Commit(*record, ChangeOf(command.verb), command.reason, command.actor));
  return record;
}

absl::Status RevisionKeeper::CheckDeletion(const RevisionRecord& record) const {
  if (record.marks.pinned) {
    return UnfitRevision(record.revision, "REVISION_PINNED", "is pinned; unpin it to delete it");
  }
  const absl::StatusOr<std::vector<LabelRecord>> labels = store_->ListLabels();
  if (!labels.ok()) return FromStore(labels.status());
  for (const LabelRecord& label : *labels) {
    if (label.revision != record.revision) continue;
    return UnfitRevision(
        record.revision, "REVISION_LABELLED",
        absl::StrCat("has label \"", label.name, "\"; move the label to delete it"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Purged> RevisionKeeper::Purge(const PurgeCommand& command) {
  AMEND_ASSIGN_OR_RETURN(const std::vector<RetentionFacts> facts, AllFacts());
  const absl::Duration delay = command.without_delay ? absl::ZeroDuration() : policy_.purge_delay;
  // A clock that went back must not keep what is to go at once.
  const absl::Time now = command.without_delay ? absl::InfiniteFuture() : clock_();
  std::vector<Revision> go = RevisionsToPurge(facts, delay, now);
  if (command.dry_run) return Purged{std::move(go), false};
  return PurgeAll(go, command.reason, command.actor);
}

absl::StatusOr<Purged> RevisionKeeper::Sweep() {
  AMEND_ASSIGN_OR_RETURN(std::vector<RetentionFacts> facts, AllFacts());
  const absl::Time now = clock_();
  for (const Revision revision : RevisionsToDelete(facts, policy_, now)) {
    absl::StatusOr<RevisionRecord> record = store_->GetRevision(revision);
    if (!record.ok()) return FromStore(record.status());
    record->marks.delete_time_us = absl::ToUnixMicros(now);
    AMEND_RETURN_IF_ERROR(Commit(*record, Change::DELETED, "retention policy", kRetentionActor));
    facts[revision.value() - 1].marks = record->marks;
  }
  return PurgeAll(RevisionsToPurge(facts, policy_.purge_delay, now), "retention policy",
                  kRetentionActor);
}

absl::StatusOr<Purged> RevisionKeeper::PurgeAll(const std::vector<Revision>& revisions,
                                                const std::string& reason,
                                                const std::string& actor) {
  Purged purged;
  for (const Revision revision : revisions) {
    if (static_cast<int>(purged.revisions.size()) == kMaxPurge) {
      purged.more = true;
      break;
    }
    absl::StatusOr<RevisionRecord> record = store_->GetRevision(revision);
    if (!record.ok()) return FromStore(record.status());
    record->marks.purge_time_us = absl::ToUnixMicros(clock_());
    AMEND_RETURN_IF_ERROR(Commit(*record, Change::PURGED, reason, actor));
    purged.revisions.push_back(revision);
  }
  return purged;
}

absl::Status RevisionKeeper::Commit(const RevisionRecord& record, Change::Change change,
                                    const std::string& reason, const std::string& actor) {
  StoreStep step;
  step.marks = MarkChange{record.revision, record.marks};
  step.audit = AuditRecord{actor,
                           VerbOf(change),
                           "",
                           record.revision,
                           record.revision,
                           reason,
                           absl::ToUnixMicros(clock_())};
  const absl::Status committed = store_->Commit(step);
  if (!committed.ok()) return FromStore(committed);
  if (record.marks.purge_time_us != 0) {
    serving_->Purge(record.revision);
  } else {
    serving_->SetDeleted(record.revision, record.marks.delete_time_us != 0);
  }
  changes_->Publish(RevisionChangedEvent(change, record));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RetentionFacts>> RevisionKeeper::AllFacts() const {
  const absl::StatusOr<std::vector<LabelRecord>> labels = store_->ListLabels();
  if (!labels.ok()) return FromStore(labels.status());
  std::set<Revision> labelled;
  for (const LabelRecord& label : *labels) labelled.insert(label.revision);
  std::vector<RetentionFacts> facts;
  for (Revision before(std::numeric_limits<int64_t>::max()); before > kBaseRevision.Next();) {
    const absl::StatusOr<std::vector<RevisionRecord>> records =
        store_->ListRevisions(before, kRecordsPerRead);
    if (!records.ok()) return FromStore(records.status());
    if (records->empty()) break;
    for (const RevisionRecord& record : *records) {
      facts.push_back({record.revision, record.parent, record.state, record.marks,
                       record.create_time_us, labelled.count(record.revision) > 0});
    }
    before = records->back().revision;
  }
  std::reverse(facts.begin(), facts.end());
  return facts;
}

}  // namespace amend
