#ifndef AMEND_SERVER_OBSERVED_STORE_H_
#define AMEND_SERVER_OBSERVED_STORE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/revision_store.h"

namespace amend {

// Another store, whose calls it passes on, telling of those that failed: for metrics. As
// thread-safe as the other one, which outlives it; the functions are thread-safe too and quick.
class ObservedStore final : public RevisionStore {
 public:
  struct Options {
    // A read failed for the disk's sake, not because what it asked for is not there.
    std::function<void()> on_read_error;
    // So many values are not what was written, or are missing: DATA_LOSS of any call, or what a
    // verification found.
    std::function<void(int64_t)> on_damage;
  };

  ObservedStore(RevisionStore* store, Options options);

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
  absl::StatusOr<StoreVerification> Verify(const VerificationObserver& observer) const override;
  void Freeze(const absl::Status& why) override;

 private:
  // `result`, once what it says was told.
  template <typename T>
  absl::StatusOr<T> Read(absl::StatusOr<T> result) const;
  // Writes that fail are told of by the store itself (StoreObserver::OnSync).
  void LookForDamage(const absl::Status& status) const;

  RevisionStore* const store_;
  const Options options_;
};

}  // namespace amend

#endif  // AMEND_SERVER_OBSERVED_STORE_H_
