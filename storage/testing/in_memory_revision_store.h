#ifndef AMEND_STORAGE_TESTING_IN_MEMORY_REVISION_STORE_H_
#define AMEND_STORAGE_TESTING_IN_MEMORY_REVISION_STORE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "storage/revision_store.h"

namespace amend {

// A RevisionStore for tests: keeps everything in memory and forgets it when it dies. Passes the
// same conformance suite as the real one. Thread-safe.
class InMemoryRevisionStore : public RevisionStore {
 public:
  InMemoryRevisionStore();

  // From now on every write changes nothing and returns `status`; OK ends that.
  void SetWriteStatus(const absl::Status& status);
  // From now on ReadFactors of `revision` returns `status`, as for a damaged blob.
  void SetReadFactorsStatus(Revision revision, const absl::Status& status);
  // Calls of AppendLedger, Commit and Initialize that returned OK.
  int64_t write_count() const;

  std::optional<StoreIdentity> identity() const override;
  absl::Status Initialize(const StoreIdentity& identity) override;
  absl::StatusOr<int64_t> AppendLedger(const LedgerEntry& entry) override;
  absl::StatusOr<LedgerEntry> GetLedger(const BatchKey& key) const override;
  absl::StatusOr<int64_t> NextOffset(absl::string_view session) const override;
  absl::StatusOr<std::vector<LedgerEntry>> ListLedger(absl::string_view session,
                                                      int64_t first_offset,
                                                      int limit) const override;
  absl::StatusOr<std::vector<LedgerEntry>> PendingBatches() const override;
  Revision LatestRevision() const override;
  absl::StatusOr<RevisionRecord> GetRevision(Revision revision) const override;
  absl::StatusOr<std::vector<RevisionRecord>> ListRevisions(Revision before,
                                                            int limit) const override;
  absl::StatusOr<RevisionFactors> ReadFactors(Revision revision) const override;
  absl::StatusOr<LabelRecord> GetLabel(absl::string_view name) const override;
  absl::StatusOr<std::vector<LabelRecord>> ListLabels() const override;
  absl::Status Commit(const StoreStep& step) override;
  absl::StatusOr<std::vector<AuditRecord>> ListAudit(int64_t before, int limit) const override;
  absl::Status ReclaimSpace(std::atomic<bool>* cancelled) override;
  // Finds what SetReadFactorsStatus damaged.
  absl::StatusOr<StoreVerification> Verify(const VerificationObserver& observer) const override;
  void Freeze(const absl::Status& why) override { SetWriteStatus(why); }

 private:
  int64_t NextOffsetLocked(absl::string_view session) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  Revision LatestLocked() const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  absl::Status CheckLocked(const StoreStep& step) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  void ApplyLabels(const StoreStep& step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Null for revision 0 and for one that does not exist.
  const RevisionRecord* RecordLocked(Revision revision) const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  absl::Status write_status_ ABSL_GUARDED_BY(mu_);
  std::map<Revision, absl::Status> read_factors_status_ ABSL_GUARDED_BY(mu_);
  int64_t write_count_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<StoreIdentity> identity_ ABSL_GUARDED_BY(mu_);
  std::map<BatchKey, LedgerEntry> ledger_ ABSL_GUARDED_BY(mu_);
  // Revision r is records_[r - 1].
  std::vector<RevisionRecord> records_ ABSL_GUARDED_BY(mu_);
  std::map<Revision, RevisionFactors> factors_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, LabelRecord> labels_ ABSL_GUARDED_BY(mu_);
  // The highest generation of a deleted label.
  int64_t label_floor_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<AuditRecord> audit_ ABSL_GUARDED_BY(mu_);
};

}  // namespace amend

#endif  // AMEND_STORAGE_TESTING_IN_MEMORY_REVISION_STORE_H_
