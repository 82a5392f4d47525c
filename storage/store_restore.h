#ifndef AMEND_STORAGE_STORE_RESTORE_H_
#define AMEND_STORAGE_STORE_RESTORE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/store_backups.h"
#include "storage/store_verification.h"

// Stores and backups of which no server is in charge. `data_directory` is what amendd calls --data:
// the store lies below it.

namespace amend {

// Verifies a store that no process has open; changes nothing in it. NOT_FOUND where there is none,
// FAILED_PRECONDITION when it is in use or in a newer format, DATA_LOSS when it cannot be opened at
// all.
absl::StatusOr<StoreVerification> VerifyStoreIn(const std::string& data_directory,
                                                const VerificationObserver& observer);

// The backups in a directory, newest first. NOT_FOUND for a directory that has none.
absl::StatusOr<std::vector<BackupRecord>> BackupsIn(const std::string& directory);

struct RestoreOptions {
  std::string backup_directory;
  // 0: the newest one.
  int64_t number = 0;
  // Not there yet, or an empty directory.
  std::string data_directory;
};

struct RestoreReport {
  BackupRecord backup;
  StoreVerification verification;
};

// Makes `data_directory` from a backup: all at once, or not at all. The files are copied into a
// folder beside it, checked against the backup's checksums, read as a store and compared with the
// digest that the backup has of it, synced, and only then renamed. FAILED_PRECONDITION when the
// directory is not empty, NOT_FOUND for a backup that is not there, DATA_LOSS, naming the backup
// and the file or record, for one that is damaged.
absl::StatusOr<RestoreReport> RestoreBackup(const RestoreOptions& options,
                                            const VerificationObserver& observer);

}  // namespace amend

#endif  // AMEND_STORAGE_STORE_RESTORE_H_
