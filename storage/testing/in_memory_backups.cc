#include "storage/testing/in_memory_backups.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace amend {

void InMemoryBackups::SetCreateStatus(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  create_status_ = status;
}

absl::StatusOr<BackupRecord> InMemoryBackups::Create(int64_t create_time_us) {
  AMEND_ASSIGN_OR_RETURN(const StoreVerification verified, store_->Verify(nullptr));
  const StoreIdentity identity = store_->identity().value_or(StoreIdentity());
  absl::MutexLock lock(&mu_);
  AMEND_RETURN_IF_ERROR(create_status_);
  BackupRecord record;
  record.number = ++last_;
  record.create_time_us = create_time_us;
  record.live = verified.live;
  record.latest = verified.latest;
  record.store_digest = verified.digest;
  record.model_fingerprint = identity.model_fingerprint;
  record.model_name = identity.model_name;
  record.bytes = 1;
  records_.push_front(record);
  if (static_cast<int>(records_.size()) > keep_) records_.pop_back();
  return record;
}

absl::StatusOr<std::vector<BackupRecord>> InMemoryBackups::List() const {
  absl::MutexLock lock(&mu_);
  return std::vector<BackupRecord>(records_.begin(), records_.end());
}

absl::Status InMemoryBackups::Delete(int64_t number) {
  absl::MutexLock lock(&mu_);
  const auto found =
      std::find_if(records_.begin(), records_.end(),
                   [number](const BackupRecord& record) { return record.number == number; });
  if (found == records_.end()) {
    return absl::NotFoundError(absl::StrCat("there is no backup ", number));
  }
  records_.erase(found);
  return absl::OkStatus();
}

}  // namespace amend
