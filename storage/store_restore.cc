#include "storage/store_restore.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/utilities/backup_engine.h"
#include "storage/rocksdb_backups.h"
#include "storage/rocksdb_options.h"
#include "storage/rocksdb_revision_store.h"
#include "storage/rocksdb_status.h"
#include "storage/rocksdb_verification.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlockCacheBytes = 16 << 20;

// RocksDB's own log of what it does would be written into the store that is only to be read.
class NoLog : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
};

absl::Status FileError(absl::string_view doing, const std::string& path) {
  return absl::UnavailableError(absl::StrCat(doing, " ", path, ": ", std::strerror(errno)));
}

// Verifies what is in the RocksDB directory `path`, which this process alone uses.
absl::StatusOr<StoreVerification> VerifyDirectory(const std::string& path,
                                                  const VerificationObserver& observer) {
  const std::string doing = absl::StrCat("open store ", path);
  rocksdb::DBOptions options = MakeDbOptions(nullptr);
  options.create_if_missing = false;
  options.create_missing_column_families = false;
  options.info_log = std::make_shared<NoLog>();
  std::vector<std::string> names;
  AMEND_RETURN_IF_ERROR(
      TranslateStatus(rocksdb::DB::ListColumnFamilies(options, path, &names), doing));
  const auto cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) families.emplace_back(name, MakeFamilyOptions(cache, true));
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::OpenForReadOnly(options, path, families, &handles, &raw);
  AMEND_RETURN_IF_ERROR(TranslateStatus(opened, doing));
  const std::unique_ptr<rocksdb::DB> db(raw);
  const absl::Cleanup close = [&] {
    for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
    db->Close();
  };
  return VerifyRocksDb(db.get(), handles, observer);
}

absl::Status SyncPath(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError("open", path);
  const absl::Cleanup close_file = [fd] { close(fd); };
  if (fsync(fd) != 0) return FileError("sync", path);
  return absl::OkStatus();
}

// Every file below `directory`, then every directory, itself the last.
absl::Status SyncTree(const fs::path& directory) {
  std::vector<fs::path> folders = {directory};
  std::error_code error;
  for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_directory()) {
      folders.push_back(it->path());
    } else {
      AMEND_RETURN_IF_ERROR(SyncPath(it->path()));
    }
  }
  if (error) {
    return absl::UnavailableError(absl::StrCat("list ", directory.string(), ": ", error.message()));
  }
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    AMEND_RETURN_IF_ERROR(SyncPath(*folder));
  }
  return absl::OkStatus();
}

using Engine = std::unique_ptr<rocksdb::BackupEngineReadOnly>;

absl::StatusOr<Engine> OpenEngine(const std::string& directory) {
  std::error_code error;
  if (!fs::is_directory(fs::path(directory) / "meta", error)) {
    return absl::NotFoundError(absl::StrCat("there are no backups in ", directory));
  }
  rocksdb::BackupEngineReadOnly* engine = nullptr;
  const rocksdb::Status opened = rocksdb::BackupEngineReadOnly::Open(
      rocksdb::BackupEngineOptions(directory), rocksdb::Env::Default(), &engine);
  AMEND_RETURN_IF_ERROR(TranslateStatus(opened, absl::StrCat("open the backups in ", directory)));
  return Engine(engine);
}

absl::StatusOr<BackupRecord> FindBackup(const rocksdb::BackupEngineReadOnly& engine,
                                        const RestoreOptions& options) {
  const std::vector<BackupRecord> records = ListBackups(engine);
  for (const BackupRecord& record : records) {
    if (options.number != 0 && record.number != options.number) continue;
    if (record.damage.empty()) return record;
    return absl::DataLossError(absl::StrCat("backup ", record.number, " in ",
                                            options.backup_directory,
                                            " is damaged: ", record.damage));
  }
  return absl::NotFoundError(
      options.number == 0
          ? absl::StrCat("there are no backups in ", options.backup_directory)
          : absl::StrCat("there is no backup ", options.number, " in ", options.backup_directory));
}

absl::Status CheckTarget(const std::string& target) {
  std::error_code error;
  if (target.empty()) return absl::InvalidArgumentError("the directory to restore to is empty");
  const fs::file_status status = fs::symlink_status(target, error);
  if (!fs::exists(status)) return absl::OkStatus();
  if (fs::is_directory(status) && fs::is_empty(target, error) && !error) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(target, " is not empty: a backup is restored into a new directory"));
}

// A file that is missing is damage too.
absl::Status NameBackup(const absl::Status& status, const BackupRecord& backup,
                        const std::string& directory) {
  const std::string name = absl::StrCat("backup ", backup.number, " in ", directory);
  if (!absl::IsDataLoss(status) && !absl::IsNotFound(status)) {
    return absl::Status(status.code(), absl::StrCat(name, ": ", status.message()));
  }
  return absl::DataLossError(absl::StrCat(name, " is damaged: ", status.message()));
}

absl::StatusOr<StoreVerification> RestoreInto(const std::string& store, const BackupRecord& backup,
                                              const rocksdb::BackupEngineReadOnly& engine,
                                              const VerificationObserver& observer) {
  const auto number = static_cast<rocksdb::BackupID>(backup.number);
  AMEND_RETURN_IF_ERROR(TranslateStatus(engine.VerifyBackup(number, /*verify_with_checksum=*/true),
                                        "check its files"));
  AMEND_RETURN_IF_ERROR(
      TranslateStatus(engine.RestoreDBFromBackup(number, store, store), "copy its files"));
  AMEND_ASSIGN_OR_RETURN(StoreVerification verification, VerifyDirectory(store, observer));
  if (verification.damage_count > 0) {
    const StoreDamage& damage = verification.damages.front();
    return absl::DataLossError(absl::StrCat(damage.key, ": ", damage.description));
  }
  if (verification.digest != backup.store_digest) {
    return absl::DataLossError(absl::StrCat("the store in it has digest ", verification.digest,
                                            ", when it was made it had ", backup.store_digest));
  }
  // A start takes a store without a log for damaged; opening it makes one.
  RocksDbRevisionStore::Options copy;
  copy.path = store;
  copy.is_copy = true;
  AMEND_RETURN_IF_ERROR(RocksDbRevisionStore::Open(copy).status());
  return verification;
}

}  // namespace

absl::StatusOr<StoreVerification> VerifyStoreIn(const std::string& data_directory,
                                                const VerificationObserver& observer) {
  const std::string path = (fs::path(data_directory) / std::string(kStoreFolder)).string();
  std::error_code error;
  if (!fs::exists(fs::path(path) / "CURRENT", error)) {
    return absl::NotFoundError(absl::StrCat("there is no store in ", data_directory));
  }
  rocksdb::Env* const env = rocksdb::Env::Default();
  rocksdb::FileLock* lock = nullptr;
  const rocksdb::Status locked = env->LockFile(path + "/LOCK", &lock);
  if (IsLockHeld(locked)) {
    return absl::FailedPreconditionError(
        absl::StrCat("store ", path, " is in use by another process: ask that one to verify it"));
  }
  AMEND_RETURN_IF_ERROR(TranslateStatus(locked, absl::StrCat("open store ", path)));
  const absl::Cleanup unlock = [&] { env->UnlockFile(lock); };
  return VerifyDirectory(path, observer);
}

absl::StatusOr<std::vector<BackupRecord>> BackupsIn(const std::string& directory) {
  AMEND_ASSIGN_OR_RETURN(const Engine engine, OpenEngine(directory));
  return ListBackups(*engine);
}

absl::StatusOr<RestoreReport> RestoreBackup(const RestoreOptions& options,
                                            const VerificationObserver& observer) {
  AMEND_RETURN_IF_ERROR(CheckTarget(options.data_directory));
  AMEND_ASSIGN_OR_RETURN(const Engine engine, OpenEngine(options.backup_directory));
  RestoreReport report;
  AMEND_ASSIGN_OR_RETURN(report.backup, FindBackup(*engine, options));
  fs::path target = fs::absolute(options.data_directory).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  std::error_code error;
  fs::create_directories(target.parent_path(), error);
  std::string temporary = absl::StrCat(target.string(), ".restoring-XXXXXX");
  if (mkdtemp(temporary.data()) == nullptr) return FileError("make", temporary);
  absl::Cleanup remove = [&] { fs::remove_all(temporary, error); };
  absl::StatusOr<StoreVerification> verified =
      RestoreInto(absl::StrCat(temporary, "/", kStoreFolder), report.backup, *engine, observer);
  if (!verified.ok()) {
    return NameBackup(verified.status(), report.backup, options.backup_directory);
  }
  report.verification = *std::move(verified);
  AMEND_RETURN_IF_ERROR(SyncTree(temporary));
  // Takes the place of an empty directory too; fails for one that is not.
  if (std::rename(temporary.c_str(), target.c_str()) != 0) {
    return FileError(absl::StrCat("rename ", temporary, " to"), target.string());
  }
  std::move(remove).Cancel();
  AMEND_RETURN_IF_ERROR(SyncPath(target.parent_path()));
  return report;
}

}  // namespace amend
