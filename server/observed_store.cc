#include "server/observed_store.h"

#include <utility>

#include "server/errors.h"

namespace amend {

ObservedStore::ObservedStore(RevisionStore* store, Options options)
    : store_(store), options_(std::move(options)) {}

void ObservedStore::LookForDamage(const absl::Status& status) const {
  if (absl::IsDataLoss(status)) options_.on_damage(1);
}

template <typename T>
absl::StatusOr<T> ObservedStore::Read(absl::StatusOr<T> result) const {
  LookForDamage(result.status());
  if (IsStoreTrouble(result.status())) options_.on_read_error();
  return result;
}

std::optional<StoreIdentity> ObservedStore::identity() const { return store_->identity(); }

absl::Status ObservedStore::Initialize(const StoreIdentity& identity) {
  return store_->Initialize(identity);
}

absl::StatusOr<int64_t> ObservedStore::AppendLedger(const LedgerEntry& entry) {
  absl::StatusOr<int64_t> sequence = store_->AppendLedger(entry);
  LookForDamage(sequence.status());
  return sequence;
}

absl::StatusOr<LedgerEntry> ObservedStore::GetLedger(const BatchKey& key) const {
  return Read(store_->GetLedger(key));
}

absl::StatusOr<int64_t> ObservedStore::NextOffset(absl::string_view session) const {
  return Read(store_->NextOffset(session));
}

absl::StatusOr<std::vector<LedgerEntry>> ObservedStore::ListLedger(absl::string_view session,
                                                                   int64_t first_offset,
                                                                   int limit) const {
  return Read(store_->ListLedger(session, first_offset, limit));
}

absl::StatusOr<std::vector<LedgerEntry>> ObservedStore::PendingBatches() const {
  return Read(store_->PendingBatches());
}

Revision ObservedStore::LatestRevision() const { return store_->LatestRevision(); }

absl::StatusOr<RevisionRecord> ObservedStore::GetRevision(Revision revision) const {
  return Read(store_->GetRevision(revision));
}

absl::StatusOr<std::vector<RevisionRecord>> ObservedStore::ListRevisions(Revision before,
                                                                         int limit) const {
  return Read(store_->ListRevisions(before, limit));
}

absl::StatusOr<RevisionFactors> ObservedStore::ReadFactors(Revision revision) const {
  return Read(store_->ReadFactors(revision));
}

absl::StatusOr<LabelRecord> ObservedStore::GetLabel(absl::string_view name) const {
  return Read(store_->GetLabel(name));
}

absl::StatusOr<std::vector<LabelRecord>> ObservedStore::ListLabels() const {
  return Read(store_->ListLabels());
}

absl::Status ObservedStore::Commit(const StoreStep& step) {
  const absl::Status status = store_->Commit(step);
  LookForDamage(status);
  return status;
}

absl::StatusOr<std::vector<AuditRecord>> ObservedStore::ListAudit(int64_t before, int limit) const {
  return Read(store_->ListAudit(before, limit));
}

absl::Status ObservedStore::ReclaimSpace(std::atomic<bool>* cancelled) {
  return store_->ReclaimSpace(cancelled);
}

absl::StatusOr<StoreVerification> ObservedStore::Verify(
    const VerificationObserver& observer) const {
  absl::StatusOr<StoreVerification> report = Read(store_->Verify(observer));
  if (report.ok() && report->damage_count > 0) options_.on_damage(report->damage_count);
  return report;
}

void ObservedStore::Freeze(const absl::Status& why) { store_->Freeze(why); }

}  // namespace amend
