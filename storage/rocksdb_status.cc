#include "storage/rocksdb_status.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace amend {
namespace {

absl::StatusCode CodeOf(const rocksdb::Status& status) {
  switch (status.code()) {
    case rocksdb::Status::kOk:
      return absl::StatusCode::kOk;
    case rocksdb::Status::kCorruption:
      return absl::StatusCode::kDataLoss;
    case rocksdb::Status::kIOError:
      if (status.IsPathNotFound()) return absl::StatusCode::kDataLoss;
      return status.IsNoSpace() || status.subcode() == rocksdb::Status::kSpaceLimit
                 ? absl::StatusCode::kResourceExhausted
                 : absl::StatusCode::kUnavailable;
    case rocksdb::Status::kBusy:
    case rocksdb::Status::kTimedOut:
    case rocksdb::Status::kTryAgain:
    case rocksdb::Status::kIncomplete:
    case rocksdb::Status::kShutdownInProgress:
      return absl::StatusCode::kUnavailable;
    case rocksdb::Status::kAborted:
      return status.subcode() == rocksdb::Status::kMemoryLimit
                 ? absl::StatusCode::kResourceExhausted
                 : absl::StatusCode::kUnavailable;
    case rocksdb::Status::kNotFound:
      return absl::StatusCode::kNotFound;
    case rocksdb::Status::kInvalidArgument:
      return absl::StatusCode::kInvalidArgument;
    case rocksdb::Status::kNotSupported:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

absl::Status TranslateStatus(const rocksdb::Status& status, absl::string_view doing) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(CodeOf(status), absl::StrCat(doing, ": ", status.ToString()));
}

bool IsLockHeld(const rocksdb::Status& status) {
  if (!status.IsIOError()) return false;
  // RocksDB has no code for it: its words of the two cases.
  const std::string text = status.ToString();
  return absl::StrContains(text, "While lock file") || absl::StrContains(text, "lock hold by");
}

bool IsPermission(const rocksdb::Status& status) {
  if (!status.IsIOError()) return false;
  const std::string text = status.ToString();
  return absl::StrContains(text, std::strerror(EACCES)) ||
         absl::StrContains(text, std::strerror(EPERM)) ||
         absl::StrContains(text, std::strerror(EROFS));
}

}  // namespace amend
