#ifndef AMEND_STORAGE_ROCKSDB_BACKUPS_H_
#define AMEND_STORAGE_ROCKSDB_BACKUPS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/rocksdb_revision_store.h"
#include "storage/store_backups.h"

namespace rocksdb {
class BackupEngine;
class BackupEngineReadOnlyBase;
class Env;
class FileLock;
struct BackupInfo;
}  // namespace rocksdb

namespace amend {

// Backups of a RocksDbRevisionStore in a directory of RocksDB's BackupEngine: table and blob files
// that are there already are shared, so a backup costs what is new. Thread-safe; one call at a time
// works.
//
// One process at a time has the directory open, and it holds backups of one model only.
class RocksDbBackups : public StoreBackups {
 public:
  struct Options {
    // Made, with its parents, when it is not there.
    std::string directory;
    // Backups that stay; 1 or more.
    int keep = 7;
    // Outlives this object. Its identity is there already.
    RocksDbRevisionStore* store = nullptr;
    // For tests: the file system of the backups; null is the real one.
    rocksdb::Env* env = nullptr;
  };
  // FAILED_PRECONDITION when another process has the directory open or its backups are of another
  // model (naming both fingerprints), PERMISSION_DENIED when it cannot be written. All name the
  // directory.
  static absl::StatusOr<std::unique_ptr<RocksDbBackups>> Open(const Options& options);
  ~RocksDbBackups() override;

  absl::StatusOr<BackupRecord> Create(int64_t create_time_us) override ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<std::vector<BackupRecord>> List() const override ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Delete(int64_t number) override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  explicit RocksDbBackups(const Options& options);

  absl::Status OpenEngine() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status CheckModel() const ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<BackupRecord> CopyCheckpoint(int64_t create_time_us)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RemoveCheckpoint() const;

  const Options options_;
  // Where the store's files are linked while they are copied.
  const std::string checkpoint_path_;
  rocksdb::Env* const env_;
  rocksdb::FileLock* lock_ = nullptr;
  mutable absl::Mutex mu_;
  std::unique_ptr<rocksdb::BackupEngine> engine_ ABSL_GUARDED_BY(mu_);
};

// What an engine knows of its backups, newest first.
std::vector<BackupRecord> ListBackups(const rocksdb::BackupEngineReadOnlyBase& engine);

}  // namespace amend

#endif  // AMEND_STORAGE_ROCKSDB_BACKUPS_H_
