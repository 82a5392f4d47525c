#ifndef AMEND_STORAGE_TESTING_IN_MEMORY_BACKUPS_H_
#define AMEND_STORAGE_TESTING_IN_MEMORY_BACKUPS_H_

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/revision_store.h"
#include "storage/store_backups.h"

namespace amend {

// StoreBackups for tests: keeps what backups say of the store, and no store. Passes the same
// conformance suite as the real one. Thread-safe.
class InMemoryBackups : public StoreBackups {
 public:
  // `store` outlives this object.
  InMemoryBackups(const RevisionStore* store, int keep) : store_(store), keep_(keep) {}

  // From now on Create makes nothing and returns `status`; OK ends that.
  void SetCreateStatus(const absl::Status& status);

  absl::StatusOr<BackupRecord> Create(int64_t create_time_us) override;
  absl::StatusOr<std::vector<BackupRecord>> List() const override;
  absl::Status Delete(int64_t number) override;

 private:
  const RevisionStore* const store_;
  const int keep_;
  mutable absl::Mutex mu_;
  absl::Status create_status_ ABSL_GUARDED_BY(mu_);
  int64_t last_ ABSL_GUARDED_BY(mu_) = 0;
  // Newest first.
  std::deque<BackupRecord> records_ ABSL_GUARDED_BY(mu_);
};

}  // namespace amend

#endif  // AMEND_STORAGE_TESTING_IN_MEMORY_BACKUPS_H_
