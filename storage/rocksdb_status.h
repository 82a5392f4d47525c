#ifndef AMEND_STORAGE_ROCKSDB_STATUS_H_
#define AMEND_STORAGE_ROCKSDB_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "rocksdb/status.h"

namespace amend {

// The one place where RocksDB's errors become ours. `doing` names what was tried and on what:
// "read revisions/12 of /var/lib/amend". The message is `doing`, ": " and RocksDB's own words.
//
//   Corruption; IOError: a file is missing       DATA_LOSS
//   IOError: no space, space limit; memory limit  RESOURCE_EXHAUSTED
//   other IOError, Busy, TimedOut, TryAgain,
//   Incomplete, ShutdownInProgress, Aborted      UNAVAILABLE
//   NotFound, InvalidArgument                    the same
//   NotSupported                                 FAILED_PRECONDITION
//   anything else                                INTERNAL
absl::Status TranslateStatus(const rocksdb::Status& status, absl::string_view doing);

// Whether `status` says that the database's LOCK file is held, by this process or by another one.
bool IsLockHeld(const rocksdb::Status& status);

// Whether `status` says that this process may not do something to a file, or that the file system
// is mounted read-only.
bool IsPermission(const rocksdb::Status& status);

}  // namespace amend

#endif  // AMEND_STORAGE_ROCKSDB_STATUS_H_
