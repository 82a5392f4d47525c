#ifndef AMEND_STORAGE_SYNCED_DB_H_
#define AMEND_STORAGE_SYNCED_DB_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "rocksdb/write_batch.h"
#include "storage/store_observer.h"
#include "storage/store_usage.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
class Env;
class Statistics;
}  // namespace rocksdb

namespace amend {

// One RocksDB directory with synced writes.
//
//  - OK from Write means durable. So does what is read: whatever a start finds in the log is
//  written to synced files before it is shown, since the kernel may show bytes that it failed to
//  sync and will forget.
//  - A failed write stops all writes: the database is read-only. Nobody knows how much of that
//  write the disk has. Recover opens the database again and puts back what was there before it, so
//  that an error means "not done" for as long as this process lives.
//
// Acquire is thread-safe. The callers of Write, Recover and Freeze exclude each other.
class SyncedDb {
 public:
  struct Family {
    std::string name;
    // Whether large values go to blob files.
    bool blobs = false;
  };
  struct Options {
    // The directory; made, with its parents, when it is not there.
    std::string path;
    std::vector<Family> families;
    // The files are those of a checkpoint or a backup: there may be no log among them, and they are
    // not merged in the background.
    bool is_copy = false;
    // Optional; outlives this object.
    StoreObserver* observer = nullptr;
    // Null is the real one. Outlives this object.
    rocksdb::Env* env = nullptr;
    // Called by any thread when Recover has something to do. Must be quick and call nothing of
    // this. May be null.
    std::function<void()> on_trouble;
  };
  // The database while it is open.
  struct Opened {
    explicit Opened(absl::Notification* closed);
    ~Opened();
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;

    std::unique_ptr<rocksdb::DB> db;
    // Of every column family on disk; first those of Options::families, in their order.
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    absl::Notification* const closed;
  };

  // FAILED_PRECONDITION when another process has it open or the path is not a directory;
  // PERMISSION_DENIED when it cannot be written; DATA_LOSS when it is damaged. All name the path.
  static absl::StatusOr<std::unique_ptr<SyncedDb>> Open(Options options);
  ~SyncedDb();

  // The database, which stays open while it is held: do not hold it for long. UNAVAILABLE while it
  // is being opened again.
  absl::StatusOr<std::shared_ptr<const Opened>> Acquire() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Sizes are absent while it is being opened again.
  StoreUsage Usage() const;

  // Writes all of `batch` or nothing. `doing`: "write labels/live". In read-only mode the error
  // that began it.
  absl::Status Write(absl::string_view doing, rocksdb::WriteBatch* batch);
  // Leaves the read-only mode when the disk takes writes again; nothing to do without trouble. The
  // error that is left.
  absl::Status Recover();
  // Refuses all writes with `why` from now on.
  void Freeze(const absl::Status& why);

 private:
  class Listener;

  explicit SyncedDb(Options options);

  absl::Status MakeDirectory() const;
  absl::Status SyncAncestors() const;
  absl::StatusOr<std::shared_ptr<const Opened>> OpenFiles();
  // Waits until nobody holds it.
  void Close();
  // What puts back the values that `batch` replaces.
  absl::StatusOr<rocksdb::WriteBatch> UndoOf(const rocksdb::WriteBatch& batch) const;
  // Writes and deletes a small file, where there is room for what Recover writes.
  absl::Status TryDisk() const;
  absl::Status RecoverFromTrouble();
  void SetTrouble(const absl::Status& status);

  const Options options_;
  // What RocksDB sees of options_.env.
  const std::unique_ptr<rocksdb::Env> env_;
  const std::shared_ptr<Listener> listener_;
  // Of all openings.
  const std::shared_ptr<rocksdb::Statistics> statistics_;
  absl::Status trouble_;
  absl::Status frozen_;
  // The write that failed, until `undo_` is known; `undo_` until it is written.
  std::optional<rocksdb::WriteBatch> in_doubt_;
  std::optional<rocksdb::WriteBatch> undo_;

  mutable absl::Mutex mutex_;
  std::shared_ptr<const Opened> opened_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<absl::Notification> closed_;
};

}  // namespace amend

#endif  // AMEND_STORAGE_SYNCED_DB_H_
