#ifndef AMEND_STORAGE_ROCKSDB_REVISION_STORE_H_
#define AMEND_STORAGE_ROCKSDB_REVISION_STORE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/record_codec.h"
#include "storage/revision_store.h"
#include "storage/step_rules.h"
#include "storage/store_observer.h"
#include "storage/store_usage.h"
#include "storage/synced_db.h"

namespace rocksdb {
class Env;
class Iterator;
class WriteBatch;
}  // namespace rocksdb

namespace amend {

// Name of the store's directory in the data directory of a server.
inline constexpr absl::string_view kStoreFolder = "store";

// Version of the format that docs/storage_format.md describes.
inline constexpr int64_t kStorageFormatVersion = 1;

// The RevisionStore in a RocksDB directory. Thread-safe.
//
// One step is one synced WriteBatch. One process at a time has the directory open. Writers exclude
// each other; readers wait for nobody.
//
// After a failed write the store is read-only: writes get the error that began it. A thread of the
// store's own tries the disk from time to time and ends that mode (see SyncedDb). Reads go on, but
// for the moment in which the database is opened again: UNAVAILABLE.
// docs/storage_format.md says what is written.
class RocksDbRevisionStore : public RevisionStore {
 public:
  struct Options {
    // The directory; made, with its parents, when it is not there.
    std::string path;
    // Optional; outlives the store.
    StoreObserver* observer = nullptr;
    // For tests: the file system; null is the real one. Outlives the store.
    rocksdb::Env* env = nullptr;
    // The files are those of a checkpoint or a backup. See SyncedDb::Options.
    bool is_copy = false;
    // Between two tries of a disk that took no writes.
    absl::Duration retry_delay = absl::Seconds(1);
  };

  // Opens or creates a store. FAILED_PRECONDITION when another process has it open, when it was
  // written in a newer format (naming both versions) or when the path is not a directory;
  // PERMISSION_DENIED when it cannot be written; DATA_LOSS when it is damaged. All name the path.
  static absl::StatusOr<std::unique_ptr<RocksDbRevisionStore>> Open(const Options& options);

  ~RocksDbRevisionStore() override;

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

  // What the store holds now, as a store of its own in the new directory `path` on the same file
  // system. Writes wait while its files are linked, not copied.
  absl::Status CreateCheckpoint(const std::string& path);
  // See StoreVerification. DATA_LOSS when a record is damaged.
  absl::StatusOr<std::string> Digest() const;

  // For metrics; quick.
  StoreUsage Usage() const { return db_->Usage(); }

  const std::string& path() const { return options_.path; }
  // For copying its files. See SyncedDb::Acquire.
  absl::StatusOr<std::shared_ptr<const SyncedDb::Opened>> Acquire() const { return db_->Acquire(); }

 private:
  enum ColumnFamily { kMeta, kRevisions, kFactors, kLedger, kPending, kLabels, kAudit, kCount };

  // What a step writes, and what is true in memory once it is written.
  struct Plan;

  explicit RocksDbRevisionStore(const Options& options);

  // Ends when the store does.
  void KeepWritable() ABSL_LOCKS_EXCLUDED(trouble_mu_);
  // Checks the format version, or writes it into a new store.
  absl::Status CheckFormat();
  absl::Status LoadState();

  static absl::string_view NameOf(ColumnFamily family);
  std::string Doing(absl::string_view verb, ColumnFamily family, absl::string_view key) const;
  // The stored bytes; absent when the key is not there.
  absl::StatusOr<std::optional<std::string>> Get(ColumnFamily family, absl::string_view key) const;
  // Holds the database open.
  std::shared_ptr<rocksdb::Iterator> NewIterator(ColumnFamily family) const;
  absl::Status IteratorStatus(const rocksdb::Iterator& iterator, ColumnFamily family) const;
  // The last number key of a column family; 0 when it is empty.
  absl::StatusOr<int64_t> LastNumber(ColumnFamily family) const;
  void Put(ColumnFamily family, absl::string_view key, absl::string_view value,
           rocksdb::WriteBatch* batch) const;
  void Delete(ColumnFamily family, absl::string_view key, rocksdb::WriteBatch* batch) const;
  absl::Status Write(absl::string_view doing, rocksdb::WriteBatch* batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);

  absl::StatusOr<std::optional<StoredRevision>> FindRevision(Revision revision) const;
  absl::StatusOr<std::optional<LabelRecord>> FindLabel(absl::string_view name) const;
  absl::StatusOr<std::optional<LedgerEntry>> FindLedger(const BatchKey& key) const;
  absl::StatusOr<Matrix> ReadBlob(Revision revision, const BlobReference& blob) const;

  absl::Status PlanStep(const StoreStep& step, Plan* plan) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  // What CheckStep wants to know.
  absl::StatusOr<StepFacts> FactsFor(const StoreStep& step) const;
  void PlanRevision(const StoreStep& step, rocksdb::WriteBatch* batch) const;
  absl::Status PlanLabels(const StoreStep& step, Plan* plan) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  absl::Status PlanMarks(const MarkChange& change, rocksdb::WriteBatch* batch) const;
  void PlanLedger(const LedgerEntry& entry, int64_t sequence, rocksdb::WriteBatch* batch) const;

  const Options options_;
  std::unique_ptr<SyncedDb> db_;

  // Held from reading what a write depends on until it is durable. Locked before mu_.
  mutable absl::Mutex write_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  int64_t last_sequence_ ABSL_GUARDED_BY(write_mu_) = 0;
  int64_t last_audit_ ABSL_GUARDED_BY(write_mu_) = 0;
  // The highest generation of a deleted label.
  int64_t label_floor_ ABSL_GUARDED_BY(write_mu_) = 0;

  mutable absl::Mutex mu_;
  std::optional<StoreIdentity> identity_ ABSL_GUARDED_BY(mu_);
  Revision latest_ ABSL_GUARDED_BY(mu_);
  // Sequence to key of all entries in state kDurable: the column family `pending`.
  std::map<int64_t, BatchKey> pending_ ABSL_GUARDED_BY(mu_);

  absl::Mutex trouble_mu_;
  bool trouble_ ABSL_GUARDED_BY(trouble_mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(trouble_mu_) = false;
  std::thread keeper_;
};

}  // namespace amend

#endif  // AMEND_STORAGE_ROCKSDB_REVISION_STORE_H_
