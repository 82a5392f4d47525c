#include "server/recovery.h"

#include <cstddef>
#include <deque>
#include <future>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/errors.h"
#include "server/revision_line.h"

namespace amend {
namespace {

// Reads the factors of revisions in their order, some of them ahead: reading and digesting is most
// of a start, and the disk and the other cores have nothing else to do.
class FactorsAhead {
 public:
  FactorsAhead(const RevisionStore& store, std::vector<Revision> revisions)
      : store_(store), revisions_(std::move(revisions)) {
    while (pending_.size() < kAhead && started_ < revisions_.size()) StartNext();
  }

  // Those of the next revision.
  absl::StatusOr<RevisionFactors> Next() {
    absl::StatusOr<RevisionFactors> factors = pending_.front().get();
    pending_.pop_front();
    if (started_ < revisions_.size()) StartNext();
    return factors;
  }

 private:
  static constexpr size_t kAhead = 4;

  void StartNext() {
    const Revision revision = revisions_[started_++];
    pending_.push_back(
        std::async(std::launch::async, [this, revision] { return store_.ReadFactors(revision); }));
  }

  const RevisionStore& store_;
  const std::vector<Revision> revisions_;
  size_t started_ = 0;
  // The destructors of these wait.
  std::deque<std::future<absl::StatusOr<RevisionFactors>>> pending_;
};

bool Serves(const RevisionRecord& record) {
  return record.state == RevisionState::kValidated && record.marks.purge_time_us == 0;
}

// Makes one revision serve again, on top of its parent. `factors` are null for one that withdraws.
absl::Status Load(const RevisionRecord& record, const absl::StatusOr<RevisionFactors>* factors,
                  EditEngine& engine, ServingModel& serving) {
  AMEND_ASSIGN_OR_RETURN(const std::shared_ptr<const Snapshot> parent,
                         serving.Resident(record.parent));
  std::shared_ptr<const HookStack> hooks;
  if (factors == nullptr) {
    AMEND_ASSIGN_OR_RETURN(hooks, engine.Without(parent->hooks, record.withdrawn));
  } else {
    AMEND_RETURN_IF_ERROR(factors->status());
    AMEND_ASSIGN_OR_RETURN(hooks, engine.Extend(parent->hooks, record.revision, **factors));
  }
  serving.AddRevision(
      std::make_shared<const Snapshot>(Snapshot{record.revision, std::move(hooks)}));
  serving.SetDeleted(record.revision, record.marks.delete_time_us != 0);
  return absl::OkStatus();
}

absl::Status OnLiveLine(Revision revision, Revision live, const absl::Status& status) {
  const absl::Status error = FromStore(status);
  return WithReason(
      absl::Status(error.code(),
                   absl::StrCat("revision ", revision.value(), ", which live revision ",
                                live.value(), " is made of, cannot be read: ", error.message())),
      ReasonOf(error).empty() ? "RECOVERY_FAILED" : ReasonOf(error));
}

// Of revisions 1 to the latest.
std::vector<absl::StatusOr<RevisionRecord>> ReadRecords(const RevisionStore& store) {
  std::vector<absl::StatusOr<RevisionRecord>> records;
  const Revision latest = store.LatestRevision();
  for (Revision revision(1); revision <= latest; revision = revision.Next()) {
    records.push_back(store.GetRevision(revision));
  }
  return records;
}

// Damage on the live line goes to the report.
void LoadRevisions(const RevisionStore& store, const std::set<Revision>& live_line,
                   EditEngine& engine, ServingModel& serving, RecoveryReport& report) {
  // The first batch builds it: keys take longer to sum up than all revisions to read.
  engine.ResetLine();
  const std::vector<absl::StatusOr<RevisionRecord>> records = ReadRecords(store);
  std::vector<Revision> with_factors;
  for (const auto& record : records) {
    if (record.ok() && Serves(*record) && !record->withdraws())
      with_factors.push_back(record->revision);
  }
  FactorsAhead ahead(store, std::move(with_factors));
  Revision revision = kBaseRevision;
  for (const absl::StatusOr<RevisionRecord>& record : records) {
    revision = revision.Next();
    const bool on_live_line = live_line.count(revision) > 0;
    absl::Status status = record.status();
    if (record.ok()) {
      if (record->state != RevisionState::kValidated) continue;
      if (!Serves(*record)) {
        serving.Purge(revision);
        continue;
      }
      if (record->withdraws()) {
        status = Load(*record, nullptr, engine, serving);
      } else {
        const absl::StatusOr<RevisionFactors> factors = ahead.Next();
        status = Load(*record, &factors, engine, serving);
      }
    }
    if (status.ok()) {
      ++report.revisions;
      if (on_live_line && record->marks.delete_time_us == 0) report.served = revision;
    } else if (on_live_line && report.damage.ok()) {
      report.damage = OnLiveLine(revision, report.live, status);
    } else {
      report.skipped.push_back(absl::StrCat("revision ", revision.value(), ": ", status.message()));
    }
  }
}

}  // namespace

absl::StatusOr<RecoveryReport> RecoverServing(const RevisionStore& store, EditEngine& engine,
                                              ServingModel& serving, bool serve_intact_ancestor) {
  RecoveryReport report;
  AMEND_ASSIGN_OR_RETURN(const LabelRecord live, store.GetLabel(kLiveLabel));
  report.live = live.revision;
  const absl::StatusOr<std::vector<Revision>> line = LineOf(store, live.revision);
  if (!line.ok()) report.damage = OnLiveLine(live.revision, live.revision, line.status());
  const std::vector<Revision> known = line.value_or(std::vector<Revision>());
  LoadRevisions(store, std::set<Revision>(known.begin(), known.end()), engine, serving, report);
  if (!report.damage.ok()) {
    if (!serve_intact_ancestor) return report.damage;
    AMEND_RETURN_IF_ERROR(serving.MoveLabel(kLiveLabel, report.served));
  }
  AMEND_ASSIGN_OR_RETURN(const std::vector<LabelRecord> labels, store.ListLabels());
  for (const LabelRecord& label : labels) {
    const absl::Status moved = serving.MoveLabel(label.name, label.revision);
    if (!moved.ok()) {
      report.skipped.push_back(absl::StrCat("label \"", label.name, "\": ", moved.message()));
    }
  }
  AMEND_ASSIGN_OR_RETURN(report.pending, store.PendingBatches());
  return report;
}

}  // namespace amend
