#include "server/recovery.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"
#include "server/errors.h"

namespace amend {
namespace {

// Reads the factors of revisions in their order, some of them ahead: reading and digesting is most
// of a start, and the disk and the other cores have nothing else to do.
class FactorsAhead {
 public:
  FactorsAhead(const RevisionStore& store, std::vector<Revision> revisions)
      : store_(store), revisions_(std::move(revisions)) {
    const size_t readers = std::min(kReaders, revisions_.size());
    for (size_t i = 0; i < readers; ++i) readers_.emplace_back([this] { Read(); });
  }
  ~FactorsAhead() {
    {
      absl::MutexLock lock(&mutex_);
      started_ = revisions_.size();
    }
    for (std::thread& reader : readers_) reader.join();
  }

  // Those of the next revision.
  absl::StatusOr<RevisionFactors> Next() ABSL_LOCKS_EXCLUDED(mutex_) {
    const auto is_there = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return read_.count(taken_) > 0;
    };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&is_there));
    return std::move(read_.extract(taken_++).mapped());
  }

 private:
  // More than cores: while some wait for the disk, others digest.
  static constexpr size_t kReaders = 4;
  static constexpr size_t kAhead = 8;

  void Read() ABSL_LOCKS_EXCLUDED(mutex_) {
    const auto has_turn = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return started_ == revisions_.size() || started_ < taken_ + kAhead;
    };
    while (true) {
      size_t place;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(&has_turn));
        if (started_ == revisions_.size()) return;
        place = started_++;
      }
      absl::StatusOr<RevisionFactors> factors = store_.ReadFactors(revisions_[place]);
      absl::MutexLock lock(&mutex_);
      read_.emplace(place, std::move(factors));
    }
  }

  const RevisionStore& store_;
  const std::vector<Revision> revisions_;
  absl::Mutex mutex_;
  // By place in `revisions_`: what was read and not taken yet.
  std::map<size_t, absl::StatusOr<RevisionFactors>> read_ ABSL_GUARDED_BY(mutex_);
  size_t started_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::thread> readers_;
};

// Of revisions 1 to the latest.
using Records = std::vector<absl::StatusOr<RevisionRecord>>;

bool Serves(const RevisionRecord& record) {
  return record.state == RevisionState::kValidated && record.marks.purge_time_us == 0;
}

// Makes one revision serve again, on top of its parent, on a line of `line_edits`. `factors` are
// null for one that withdraws.
absl::Status Load(const RevisionRecord& record, const absl::StatusOr<RevisionFactors>* factors,
                  int64_t line_edits, EditEngine& engine, ServingModel& serving) {
  AMEND_ASSIGN_OR_RETURN(const std::shared_ptr<const Snapshot> parent,
                         serving.Resident(record.parent));
  std::shared_ptr<const HookStack> hooks;
  if (factors == nullptr) {
    AMEND_ASSIGN_OR_RETURN(hooks, engine.Without(parent->hooks, record.withdrawn));
  } else {
    AMEND_RETURN_IF_ERROR(factors->status());
    AMEND_ASSIGN_OR_RETURN(hooks,
                           engine.Extend(parent->hooks, record.revision, **factors, line_edits));
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

Records ReadRecords(const RevisionStore& store) {
  Records records;
  const Revision latest = store.LatestRevision();
  for (Revision revision(1); revision <= latest; revision = revision.Next()) {
    records.push_back(store.GetRevision(revision));
  }
  return records;
}

// The revisions on the way to `head`.
absl::StatusOr<std::set<Revision>> LineTo(const Records& records, Revision head) {
  std::set<Revision> line;
  for (Revision at = head; at != kBaseRevision;) {
    if (at.value() > static_cast<int64_t>(records.size())) {
      return absl::DataLossError(
          absl::StrCat("revision ", at.value(), " is missing: the latest one is ", records.size()));
    }
    const absl::StatusOr<RevisionRecord>& record = records[static_cast<size_t>(at.value() - 1)];
    if (!record.ok()) return record.status();
    line.insert(at);
    at = record->parent;
  }
  return line;
}

// By place in `records`: the edits that the longest line through that revision has.
std::vector<int64_t> LineEdits(const Records& records) {
  std::vector<int64_t> edits(records.size());
  for (size_t i = records.size(); i-- > 0;) {
    if (!records[i].ok() || !Serves(*records[i])) continue;
    edits[i] = std::max(edits[i], records[i]->line_edit_count);
    const int64_t parent = records[i]->parent.value();
    if (parent == kBaseRevision.value()) continue;
    int64_t& of_parent = edits[static_cast<size_t>(parent - 1)];
    of_parent = std::max(of_parent, edits[i]);
  }
  return edits;
}

// Damage on the live line goes to the report.
void LoadRevisions(const RevisionStore& store, const Records& records,
                   const std::set<Revision>& live_line, EditEngine& engine, ServingModel& serving,
                   RecoveryReport& report) {
  // The first batch builds it: keys take longer to sum up than all revisions to read.
  engine.ResetLine();
  const std::vector<int64_t> line_edits = LineEdits(records);
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
        status = Load(*record, nullptr, 0, engine, serving);
      } else {
        const absl::StatusOr<RevisionFactors> factors = ahead.Next();
        status = Load(*record, &factors, line_edits[static_cast<size_t>(revision.value() - 1)],
                      engine, serving);
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
  const Records records = ReadRecords(store);
  const absl::StatusOr<std::set<Revision>> line = LineTo(records, live.revision);
  if (!line.ok()) report.damage = OnLiveLine(live.revision, live.revision, line.status());
  LoadRevisions(store, records, line.value_or(std::set<Revision>()), engine, serving, report);
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
