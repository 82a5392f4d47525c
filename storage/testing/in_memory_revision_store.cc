#include "storage/testing/in_memory_revision_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "storage/step_rules.h"

namespace amend {

InMemoryRevisionStore::InMemoryRevisionStore() {
  labels_[std::string(kLiveLabel)] = {std::string(kLiveLabel), kBaseRevision, 0};
}

void InMemoryRevisionStore::SetWriteStatus(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  write_status_ = status;
}

void InMemoryRevisionStore::SetReadFactorsStatus(Revision revision, const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  read_factors_status_[revision] = status;
}

int64_t InMemoryRevisionStore::write_count() const {
  absl::MutexLock lock(&mu_);
  return write_count_;
}

std::optional<StoreIdentity> InMemoryRevisionStore::identity() const {
  absl::MutexLock lock(&mu_);
  return identity_;
}

absl::Status InMemoryRevisionStore::Initialize(const StoreIdentity& identity) {
  absl::MutexLock lock(&mu_);
  if (identity_) return AlreadyInitialized(*identity_);
  AMEND_RETURN_IF_ERROR(write_status_);
  identity_ = identity;
  ++write_count_;
  return absl::OkStatus();
}

int64_t InMemoryRevisionStore::NextOffsetLocked(absl::string_view session) const {
  int64_t next = 0;
  const BatchKey first{std::string(session), 0};
  for (auto it = ledger_.lower_bound(first); it != ledger_.end(); ++it) {
    if (it->first.session != session) break;
    next = it->first.offset + 1;
  }
  return next;
}

absl::StatusOr<int64_t> InMemoryRevisionStore::AppendLedger(const LedgerEntry& entry) {
  absl::MutexLock lock(&mu_);
  AMEND_RETURN_IF_ERROR(CheckAppend(entry, NextOffsetLocked(entry.key.session)));
  AMEND_RETURN_IF_ERROR(write_status_);
  LedgerEntry stored = entry;
  stored.sequence = static_cast<int64_t>(ledger_.size()) + 1;
  ledger_[stored.key] = stored;
  ++write_count_;
  return stored.sequence;
}

absl::StatusOr<LedgerEntry> InMemoryRevisionStore::GetLedger(const BatchKey& key) const {
  absl::MutexLock lock(&mu_);
  const auto it = ledger_.find(key);
  if (it == ledger_.end()) return LedgerNotFound(key);
  return it->second;
}

absl::StatusOr<int64_t> InMemoryRevisionStore::NextOffset(absl::string_view session) const {
  absl::MutexLock lock(&mu_);
  return NextOffsetLocked(session);
}

absl::StatusOr<std::vector<LedgerEntry>> InMemoryRevisionStore::ListLedger(
    absl::string_view session, int64_t first_offset, int limit) const {
  absl::MutexLock lock(&mu_);
  std::vector<LedgerEntry> entries;
  const BatchKey first{std::string(session), first_offset};
  for (auto it = ledger_.lower_bound(first); it != ledger_.end(); ++it) {
    if (it->first.session != session || static_cast<int>(entries.size()) >= limit) break;
    entries.push_back(it->second);
  }
  return entries;
}

absl::StatusOr<std::vector<LedgerEntry>> InMemoryRevisionStore::PendingBatches() const {
  absl::MutexLock lock(&mu_);
  std::vector<LedgerEntry> entries;
  for (const auto& [key, entry] : ledger_) {
    if (!IsTerminal(entry.state)) entries.push_back(entry);
  }
  std::sort(entries.begin(), entries.end(),
            [](const LedgerEntry& a, const LedgerEntry& b) { return a.sequence < b.sequence; });
  return entries;
}

Revision InMemoryRevisionStore::LatestLocked() const {
  return Revision(static_cast<int64_t>(records_.size()));
}

Revision InMemoryRevisionStore::LatestRevision() const {
  absl::MutexLock lock(&mu_);
  return LatestLocked();
}

absl::StatusOr<RevisionRecord> InMemoryRevisionStore::GetRevision(Revision revision) const {
  absl::MutexLock lock(&mu_);
  if (revision <= kBaseRevision || revision > LatestLocked()) {
    return RevisionNotFound(revision, LatestLocked());
  }
  return records_[revision.value() - 1];
}

absl::StatusOr<std::vector<RevisionRecord>> InMemoryRevisionStore::ListRevisions(Revision before,
                                                                                 int limit) const {
  absl::MutexLock lock(&mu_);
  std::vector<RevisionRecord> records;
  int64_t revision = std::min(before.value() - 1, LatestLocked().value());
  for (; revision > 0 && static_cast<int>(records.size()) < limit; --revision) {
    records.push_back(records_[revision - 1]);
  }
  return records;
}

absl::StatusOr<RevisionFactors> InMemoryRevisionStore::ReadFactors(Revision revision) const {
  absl::MutexLock lock(&mu_);
  const auto status = read_factors_status_.find(revision);
  if (status != read_factors_status_.end()) AMEND_RETURN_IF_ERROR(status->second);
  const auto it = factors_.find(revision);
  if (it == factors_.end()) return FactorsNotFound(revision);
  return it->second;
}

absl::StatusOr<LabelRecord> InMemoryRevisionStore::GetLabel(absl::string_view name) const {
  absl::MutexLock lock(&mu_);
  const auto it = labels_.find(std::string(name));
  if (it == labels_.end()) return LabelNotFound(name);
  return it->second;
}

absl::StatusOr<std::vector<LabelRecord>> InMemoryRevisionStore::ListLabels() const {
  absl::MutexLock lock(&mu_);
  std::vector<LabelRecord> labels;
  for (const auto& [name, label] : labels_) labels.push_back(label);
  return labels;
}

absl::Status InMemoryRevisionStore::CheckLocked(const StoreStep& step) const {
  StepFacts facts;
  facts.latest = LatestLocked();
  if (step.ledger) {
    const auto it = ledger_.find(step.ledger->key);
    if (it != ledger_.end()) facts.ledger_state = it->second.state;
  }
  if (step.label) {
    const auto it = labels_.find(step.label->name);
    if (it != labels_.end()) facts.label_generation = it->second.generation;
    if (const RevisionRecord* const target = RecordLocked(step.label->to)) {
      facts.label_target_state = target->state;
      facts.label_target_deleted = target->marks.delete_time_us != 0;
    }
  }
  if (step.label_deletion) {
    const auto it = labels_.find(step.label_deletion->name);
    if (it != labels_.end()) facts.deleted_label_generation = it->second.generation;
  }
  if (step.marks) {
    if (const RevisionRecord* const marked = RecordLocked(step.marks->revision)) {
      facts.marked_state = marked->state;
      facts.marks = marked->marks;
    }
    for (const auto& [name, label] : labels_) {
      if (label.revision == step.marks->revision) facts.label_on_marked = name;
    }
  }
  if (step.revision) {
    const RevisionRecord* const parent = RecordLocked(step.revision->parent);
    facts.parent_purged = parent != nullptr && parent->marks.purge_time_us != 0;
  }
  return CheckStep(step, facts);
}

const RevisionRecord* InMemoryRevisionStore::RecordLocked(Revision revision) const {
  const bool exists = revision > kBaseRevision && revision <= LatestLocked();
  return exists ? &records_[revision.value() - 1] : nullptr;
}

void InMemoryRevisionStore::ApplyLabels(const StoreStep& step) {
  if (step.label) {
    const auto it = labels_.find(step.label->name);
    std::optional<int64_t> generation;
    if (it != labels_.end()) generation = it->second.generation;
    labels_[step.label->name] = {step.label->name, step.label->to,
                                 NextGeneration(generation, label_floor_)};
  }
  if (step.label_deletion) {
    const auto it = labels_.find(step.label_deletion->name);
    label_floor_ = std::max(label_floor_, it->second.generation);
    labels_.erase(it);
  }
}

absl::Status InMemoryRevisionStore::Commit(const StoreStep& step) {
  absl::MutexLock lock(&mu_);
  AMEND_RETURN_IF_ERROR(CheckLocked(step));
  AMEND_RETURN_IF_ERROR(write_status_);
  if (step.revision) records_.push_back(*step.revision);
  if (step.factors) factors_[step.revision->revision] = *step.factors;
  if (step.ledger) {
    LedgerEntry& stored = ledger_[step.ledger->key];
    const int64_t sequence = stored.sequence;
    stored = *step.ledger;
    stored.sequence = sequence;
  }
  ApplyLabels(step);
  if (step.marks) {
    records_[step.marks->revision.value() - 1].marks = step.marks->marks;
    if (step.marks->marks.purge_time_us != 0) factors_.erase(step.marks->revision);
  }
  if (step.audit) {
    audit_.push_back(*step.audit);
    audit_.back().sequence = static_cast<int64_t>(audit_.size());
  }
  ++write_count_;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<AuditRecord>> InMemoryRevisionStore::ListAudit(int64_t before,
                                                                          int limit) const {
  absl::MutexLock lock(&mu_);
  std::vector<AuditRecord> records;
  for (auto it = audit_.rbegin(); it != audit_.rend(); ++it) {
    if (static_cast<int>(records.size()) >= limit) break;
    if (it->sequence < before) records.push_back(*it);
  }
  return records;
}

absl::Status InMemoryRevisionStore::ReclaimSpace(std::atomic<bool>* /*cancelled*/) {
  return absl::OkStatus();
}

absl::StatusOr<StoreVerification> InMemoryRevisionStore::Verify(
    const VerificationObserver& observer) const {
  StoreVerification result;
  {
    absl::MutexLock lock(&mu_);
    result.records = static_cast<int64_t>(ledger_.size() + records_.size() + audit_.size());
    if (identity_) ++result.records;
    result.live = labels_.at(std::string(kLiveLabel)).revision;
    result.latest = LatestLocked();
    result.digest = Sha256Hex(absl::StrCat(write_count_));
    for (const auto& [revision, factors] : factors_) {
      result.blobs += static_cast<int64_t>(factors.layers.size());
      const auto status = read_factors_status_.find(revision);
      if (status == read_factors_status_.end() || status->second.ok()) continue;
      ++result.damage_count;
      result.damages.push_back({absl::StrCat("factors of revision ", revision.value()), "", "",
                                std::string(status->second.message())});
    }
  }
  if (observer != nullptr && !observer(result)) {
    return absl::CancelledError("the verification was ended");
  }
  return result;
}

}  // namespace amend
