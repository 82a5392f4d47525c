#include "storage/rocksdb_backups.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "rocksdb/env.h"
#include "rocksdb/utilities/backup_engine.h"
#include "storage/record_codec.h"
#include "storage/rocksdb_status.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

absl::Status CheckDirectory(const std::string& path) {
  std::error_code error;
  if (path.empty()) return absl::InvalidArgumentError("the path of the backups is empty");
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the backup directory ", path,
                     " cannot be made: ", error ? error.message() : "it is not a directory"));
  }
  if (access(path.c_str(), R_OK | W_OK | X_OK) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("the backup directory ", path, " cannot be written"));
  }
  return absl::OkStatus();
}

BackupRecord ToRecord(const rocksdb::BackupInfo& info) {
  absl::StatusOr<BackupRecord> decoded = DecodeBackup(info.app_metadata);
  BackupRecord record = decoded.value_or(BackupRecord());
  if (!decoded.ok()) record.damage = std::string(decoded.status().message());
  record.number = info.backup_id;
  record.bytes = static_cast<int64_t>(info.size);
  return record;
}

}  // namespace

std::vector<BackupRecord> ListBackups(const rocksdb::BackupEngineReadOnlyBase& engine) {
  std::vector<BackupRecord> records;
  std::vector<rocksdb::BackupInfo> infos;
  engine.GetBackupInfo(&infos);
  for (const rocksdb::BackupInfo& info : infos) records.push_back(ToRecord(info));
  std::vector<rocksdb::BackupID> corrupt;
  engine.GetCorruptedBackups(&corrupt);
  for (const rocksdb::BackupID number : corrupt) {
    records.emplace_back();
    records.back().number = number;
    records.back().damage = "its list of files is damaged, or a file is missing or cut";
  }
  std::sort(records.begin(), records.end(),
            [](const BackupRecord& a, const BackupRecord& b) { return a.number > b.number; });
  return records;
}

RocksDbBackups::RocksDbBackups(const Options& options)
    : options_(options),
      checkpoint_path_(absl::StrCat(options.store->path(), ".backup")),
      env_(options.env == nullptr ? rocksdb::Env::Default() : options.env) {}

absl::StatusOr<std::unique_ptr<RocksDbBackups>> RocksDbBackups::Open(const Options& options) {
  AMEND_RETURN_IF_ERROR(CheckDirectory(options.directory));
  std::unique_ptr<RocksDbBackups> backups(new RocksDbBackups(options));
  AMEND_RETURN_IF_ERROR(backups->OpenEngine());
  AMEND_RETURN_IF_ERROR(backups->CheckModel());
  backups->RemoveCheckpoint();
  return backups;
}

RocksDbBackups::~RocksDbBackups() {
  absl::MutexLock lock(&mu_);
  engine_.reset();
  if (lock_ != nullptr) env_->UnlockFile(lock_);
}

absl::Status RocksDbBackups::OpenEngine() {
  const std::string doing = absl::StrCat("open the backups in ", options_.directory);
  const rocksdb::Status locked = env_->LockFile(options_.directory + "/LOCK", &lock_);
  if (IsLockHeld(locked)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the backup directory ", options_.directory, " is in use by another process"));
  }
  AMEND_RETURN_IF_ERROR(TranslateStatus(locked, doing));
  absl::MutexLock lock(&mu_);
  rocksdb::BackupEngine* engine = nullptr;
  const rocksdb::Status opened = rocksdb::BackupEngine::Open(
      rocksdb::BackupEngineOptions(options_.directory, env_), env_, &engine);
  engine_.reset(engine);
  return TranslateStatus(opened, doing);
}

absl::Status RocksDbBackups::CheckModel() const {
  const std::optional<StoreIdentity> identity = options_.store->identity();
  AMEND_ASSIGN_OR_RETURN(const std::vector<BackupRecord> records, List());
  for (const BackupRecord& record : records) {
    if (!record.damage.empty() || !identity.has_value() ||
        record.model_fingerprint == identity->model_fingerprint) {
      continue;
    }
    return absl::FailedPreconditionError(
        absl::StrCat("the backup directory ", options_.directory, " has backups of the model ",
                     record.model_name, " (", record.model_fingerprint, "), the store is of ",
                     identity->model_name, " (", identity->model_fingerprint, ")"));
  }
  return absl::OkStatus();
}

void RocksDbBackups::RemoveCheckpoint() const {
  std::error_code ignored;
  fs::remove_all(checkpoint_path_, ignored);
  fs::remove_all(checkpoint_path_ + ".tmp", ignored);
}

absl::StatusOr<BackupRecord> RocksDbBackups::Create(int64_t create_time_us) {
  absl::MutexLock lock(&mu_);
  RemoveCheckpoint();
  const absl::Cleanup remove = [this] { RemoveCheckpoint(); };
  AMEND_RETURN_IF_ERROR(options_.store->CreateCheckpoint(checkpoint_path_));
  AMEND_ASSIGN_OR_RETURN(BackupRecord record, CopyCheckpoint(create_time_us));
  const rocksdb::Status purged =
      engine_->PurgeOldBackups(static_cast<uint32_t>(std::max(options_.keep, 1)));
  AMEND_RETURN_IF_ERROR(
      TranslateStatus(purged, absl::StrCat("delete the oldest backups in ", options_.directory)));
  return record;
}

absl::StatusOr<BackupRecord> RocksDbBackups::CopyCheckpoint(int64_t create_time_us) {
  RocksDbRevisionStore::Options store_options;
  store_options.path = checkpoint_path_;
  store_options.is_copy = true;
  AMEND_ASSIGN_OR_RETURN(const auto copy, RocksDbRevisionStore::Open(store_options));
  BackupRecord record;
  record.create_time_us = create_time_us;
  AMEND_ASSIGN_OR_RETURN(const LabelRecord live, copy->GetLabel(kLiveLabel));
  record.live = live.revision;
  record.latest = copy->LatestRevision();
  AMEND_ASSIGN_OR_RETURN(record.store_digest, copy->Digest());
  const StoreIdentity identity = copy->identity().value_or(StoreIdentity());
  record.model_fingerprint = identity.model_fingerprint;
  record.model_name = identity.model_name;
  const std::string doing = absl::StrCat("back up to ", options_.directory);
  AMEND_ASSIGN_OR_RETURN(const auto opened, copy->Acquire());
  rocksdb::BackupID number = 0;
  AMEND_RETURN_IF_ERROR(TranslateStatus(
      engine_->CreateNewBackupWithMetadata(rocksdb::CreateBackupOptions(), opened->db.get(),
                                           EncodeBackup(record), &number),
      doing));
  rocksdb::BackupInfo info;
  AMEND_RETURN_IF_ERROR(TranslateStatus(engine_->GetBackupInfo(number, &info), doing));
  record.number = number;
  record.bytes = static_cast<int64_t>(info.size);
  return record;
}

absl::StatusOr<std::vector<BackupRecord>> RocksDbBackups::List() const {
  absl::MutexLock lock(&mu_);
  return ListBackups(*engine_);
}

absl::Status RocksDbBackups::Delete(int64_t number) {
  absl::MutexLock lock(&mu_);
  const rocksdb::Status status = engine_->DeleteBackup(static_cast<rocksdb::BackupID>(number));
  if (number <= 0 || status.IsNotFound()) {
    return absl::NotFoundError(
        absl::StrCat("there is no backup ", number, " in ", options_.directory));
  }
  return TranslateStatus(status,
                         absl::StrCat("delete backup ", number, " in ", options_.directory));
}

}  // namespace amend
