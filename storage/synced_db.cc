#include "storage/synced_db.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "rocksdb/listener.h"
#include "rocksdb/statistics.h"
#include "storage/rocksdb_options.h"
#include "storage/rocksdb_status.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlockCacheBytes = 16 << 20;
// A file that is there for a moment while the disk is tried. Named like what has to be writable.
constexpr char kTrialFile[] = "trial.log";
constexpr size_t kTrialBytes = 4096;
// Room that opening needs besides what the log holds.
constexpr uint64_t kRoomToOpen = 1 << 20;

// An error of opening: what a person has to see to is not UNAVAILABLE.
absl::Status TranslateOpen(const rocksdb::Status& status, absl::string_view doing) {
  const absl::Status translated = TranslateStatus(status, doing);
  if (IsPermission(status)) return absl::PermissionDeniedError(translated.message());
  // What RocksDB says when it cannot open the file CURRENT, whatever the reason.
  if (status.IsInvalidArgument() &&
      (absl::StrContains(translated.message(), "Direct I/O is not supported") ||
       absl::StrContains(translated.message(), "options incompatible with filesystem"))) {
    return absl::UnavailableError(translated.message());
  }
  return translated;
}

// Syncs a directory before a file in it is renamed. RocksDB renames CURRENT to what names a new
// manifest, and syncs the directory afterwards: where a file system keeps the one entry and not the
// other, CURRENT would name a file that is not there.
class SyncBeforeRename : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "SyncBeforeRename"; }
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSDirectory> directory;
    rocksdb::IOStatus status =
        target()->NewDirectory(fs::path(to).parent_path().string(), options, &directory, debug);
    if (status.ok()) status = directory->Fsync(options, debug);
    return status.ok() ? target()->RenameFile(from, to, options, debug) : status;
  }
};

// Collects what a batch replaces.
class UndoBuilder : public rocksdb::WriteBatch::Handler {
 public:
  explicit UndoBuilder(const SyncedDb::Opened& opened) : opened_(opened) {}

  rocksdb::Status PutCF(uint32_t family, const rocksdb::Slice& key,
                        const rocksdb::Slice& /*value*/) override {
    return Keep(family, key);
  }
  rocksdb::Status DeleteCF(uint32_t family, const rocksdb::Slice& key) override {
    return Keep(family, key);
  }

  rocksdb::WriteBatch undo;

 private:
  rocksdb::Status Keep(uint32_t family, const rocksdb::Slice& key) {
    for (rocksdb::ColumnFamilyHandle* handle : opened_.handles) {
      if (handle->GetID() != family) continue;
      std::string value;
      const rocksdb::Status status = opened_.db->Get(rocksdb::ReadOptions(), handle, key, &value);
      if (status.IsNotFound()) return undo.Delete(handle, key);
      return status.ok() ? undo.Put(handle, key, value) : status;
    }
    return rocksdb::Status::Corruption("no such column family");
  }

  const SyncedDb::Opened& opened_;
};

}  // namespace

// Hears of errors of RocksDB's own threads, and keeps it from going on by itself.
class SyncedDb::Listener : public rocksdb::EventListener {
 public:
  explicit Listener(std::function<void()> on_trouble) : on_trouble_(std::move(on_trouble)) {}

  void OnBackgroundError(rocksdb::BackgroundErrorReason /*reason*/,
                         rocksdb::Status* status) override {
    {
      absl::MutexLock lock(&mutex_);
      if (error_.ok()) error_ = *status;
    }
    if (on_trouble_) on_trouble_();
  }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/, rocksdb::Status /*status*/,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }

  rocksdb::Status TakeError() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(error_, rocksdb::Status());
  }

 private:
  const std::function<void()> on_trouble_;
  absl::Mutex mutex_;
  rocksdb::Status error_ ABSL_GUARDED_BY(mutex_);
};

SyncedDb::Opened::Opened(absl::Notification* closed) : closed(closed) {}

SyncedDb::Opened::~Opened() {
  for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
  if (db != nullptr) db->Close().PermitUncheckedError();
  db.reset();
  closed->Notify();
}

SyncedDb::SyncedDb(Options options)
    : options_(std::move(options)),
      env_(rocksdb::NewCompositeEnv(
          std::make_shared<SyncBeforeRename>(options_.env->GetFileSystem()))),
      listener_(std::make_shared<Listener>(options_.on_trouble)),
      statistics_(rocksdb::CreateDBStatistics()) {
  // Tickers alone: no clock is read for them.
  statistics_->set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);
}

StoreUsage SyncedDb::Usage() const {
  StoreUsage usage;
  usage.stall_seconds =
      static_cast<double>(statistics_->getTickerCount(rocksdb::STALL_MICROS)) * 1e-6;
  const auto opened = Acquire();
  if (!opened.ok()) return usage;
  rocksdb::DB& db = *(*opened)->db;
  const auto number = [&db](rocksdb::ColumnFamilyHandle* handle, const std::string& property) {
    uint64_t value = 0;
    return db.GetIntProperty(handle, property, &value) ? static_cast<int64_t>(value) : 0;
  };
  for (size_t i = 0; i < options_.families.size(); ++i) {
    rocksdb::ColumnFamilyHandle* const handle = (*opened)->handles[i];
    usage.families.push_back({options_.families[i].name,
                              number(handle, rocksdb::DB::Properties::kLiveSstFilesSize) +
                                  number(handle, rocksdb::DB::Properties::kLiveBlobFileSize) +
                                  number(handle, rocksdb::DB::Properties::kCurSizeAllMemTables)});
  }
  usage.writes_stopped =
      number(db.DefaultColumnFamily(), rocksdb::DB::Properties::kIsWriteStopped) != 0;
  return usage;
}

SyncedDb::~SyncedDb() { Close(); }

absl::StatusOr<std::unique_ptr<SyncedDb>> SyncedDb::Open(Options options) {
  if (options.path.empty()) return absl::InvalidArgumentError("the path of the store is empty");
  if (options.env == nullptr) options.env = rocksdb::Env::Default();
  std::unique_ptr<SyncedDb> db(new SyncedDb(std::move(options)));
  AMEND_RETURN_IF_ERROR(db->MakeDirectory());
  AMEND_ASSIGN_OR_RETURN(auto opened, db->OpenFiles());
  absl::MutexLock lock(&db->mutex_);
  db->opened_ = std::move(opened);
  return db;
}

absl::Status SyncedDb::MakeDirectory() const {
  const std::string& path = options_.path;
  rocksdb::Env& env = *options_.env;
  std::vector<std::string> missing;
  for (fs::path at = fs::absolute(path).lexically_normal();; at = at.parent_path()) {
    const rocksdb::Status exists = env.FileExists(at.string());
    if (exists.ok()) {
      bool is_directory = false;
      AMEND_RETURN_IF_ERROR(TranslateOpen(env.IsDirectory(at.string(), &is_directory),
                                          absl::StrCat("look for store ", path)));
      if (is_directory) break;
      return absl::FailedPreconditionError(
          missing.empty() ? absl::StrCat("store ", path, " is not a directory")
                          : absl::StrCat("store ", path, " cannot be made: ", at.string(),
                                         " is not a directory"));
    }
    if (!exists.IsNotFound()) return TranslateOpen(exists, absl::StrCat("look for store ", path));
    missing.push_back(at.string());
    if (at == at.parent_path()) break;
  }
  for (; !missing.empty(); missing.pop_back()) {
    AMEND_RETURN_IF_ERROR(TranslateOpen(env.CreateDirIfMissing(missing.back()),
                                        absl::StrCat("store ", path, " cannot be made")));
  }
  // Not there: it is of another file system than the kernel's, or has just been removed.
  if (access(path.c_str(), R_OK | W_OK | X_OK) != 0 && errno != ENOENT) {
    return absl::PermissionDeniedError(absl::StrCat("store ", path, " cannot be written"));
  }
  return SyncAncestors();
}

absl::Status SyncedDb::SyncAncestors() const {
  // Also where nothing was made now: the start that made it may have been killed before this.
  const std::shared_ptr<rocksdb::FileSystem> files = options_.env->GetFileSystem();
  fs::path at = fs::absolute(options_.path).lexically_normal();
  if (!at.has_filename()) at = at.parent_path();
  while (at.has_relative_path()) {
    at = at.parent_path();
    std::unique_ptr<rocksdb::FSDirectory> directory;
    rocksdb::IOStatus status =
        files->NewDirectory(at.string(), rocksdb::IOOptions(), &directory, nullptr);
    // Who may not read a directory has not made an entry in it.
    if (IsPermission(status)) continue;
    if (status.ok()) status = directory->Fsync(rocksdb::IOOptions(), nullptr);
    AMEND_RETURN_IF_ERROR(TranslateOpen(
        status, absl::StrCat("sync directory ", at.string(), " of store ", options_.path)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const SyncedDb::Opened>> SyncedDb::OpenFiles() {
  const std::string doing = absl::StrCat("open store ", options_.path);
  rocksdb::DBOptions db_options = MakeDbOptions(env_.get());
  db_options.listeners.push_back(listener_);
  db_options.statistics = statistics_;
  std::vector<std::string> files;
  AMEND_RETURN_IF_ERROR(TranslateOpen(options_.env->GetChildren(options_.path, &files), doing));
  const bool is_new = std::find(files.begin(), files.end(), "CURRENT") == files.end();
  bool has_log = false;
  for (const std::string& file : files) {
    const std::string extension = fs::path(file).extension().string();
    has_log = has_log || (extension == ".log" && file != kTrialFile);
    // RocksDB would make a new database here. It makes CURRENT before all others of these files.
    if (is_new && (extension == ".sst" || extension == ".blob" || extension == ".log")) {
      return absl::DataLossError(
          absl::StrCat("store ", options_.path, " has ", file, " but its file CURRENT is missing"));
    }
  }
  const auto cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  std::vector<std::string> ours = {rocksdb::kDefaultColumnFamilyName};
  for (const Family& family : options_.families) {
    ours.push_back(family.name);
    families.emplace_back(family.name, MakeFamilyOptions(cache, family.blobs));
  }
  families.emplace_back(rocksdb::kDefaultColumnFamilyName, MakeFamilyOptions(cache, false));
  // RocksDB wants every family named, those of a newer format too.
  std::vector<std::string> on_disk;
  if (!is_new) {
    AMEND_RETURN_IF_ERROR(
        TranslateOpen(rocksdb::DB::ListColumnFamilies(db_options, options_.path, &on_disk), doing));
  }
  // RocksDB would do without. It makes the log before the column families, and the next one before
  // it deletes one.
  if (on_disk.size() > 1 && !has_log && !options_.is_copy) {
    return absl::DataLossError(
        absl::StrCat("store ", options_.path, " has no write-ahead log: *.log is missing"));
  }
  for (const std::string& name : on_disk) {
    if (std::find(ours.begin(), ours.end(), name) == ours.end()) {
      families.emplace_back(name, MakeFamilyOptions(cache, false));
    }
  }
  for (rocksdb::ColumnFamilyDescriptor& family : families) {
    family.options.disable_auto_compactions = options_.is_copy;
  }
  closed_ = std::make_unique<absl::Notification>();
  auto opened = std::make_shared<Opened>(closed_.get());
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::Open(db_options, options_.path, families, &opened->handles, &db);
  opened->db.reset(db);
  if (IsLockHeld(status)) {
    return absl::FailedPreconditionError(
        absl::StrCat("store ", options_.path, " is in use by another process"));
  }
  AMEND_RETURN_IF_ERROR(TranslateOpen(status, doing));
  return std::shared_ptr<const Opened>(std::move(opened));
}

void SyncedDb::Close() {
  {
    absl::MutexLock lock(&mutex_);
    if (opened_ == nullptr) return;
    opened_.reset();
  }
  closed_->WaitForNotification();
}

absl::StatusOr<std::shared_ptr<const SyncedDb::Opened>> SyncedDb::Acquire() const {
  absl::MutexLock lock(&mutex_);
  if (opened_ != nullptr) return opened_;
  return absl::UnavailableError(
      absl::StrCat("store ", options_.path, " is being opened again after a failed write"));
}

void SyncedDb::SetTrouble(const absl::Status& status) {
  if (trouble_.ok() && frozen_.ok() && options_.observer != nullptr) {
    options_.observer->OnReadOnly(true, status.message());
  }
  trouble_ = status;
}

void SyncedDb::Freeze(const absl::Status& why) {
  if (options_.observer != nullptr) options_.observer->OnReadOnly(true, why.message());
  frozen_ = why;
}

absl::Status SyncedDb::Write(absl::string_view doing, rocksdb::WriteBatch* batch) {
  const std::string what = absl::StrCat(doing, " to store ", options_.path);
  if (!frozen_.ok()) {
    return absl::Status(frozen_.code(), absl::StrCat(what, ": ", frozen_.message()));
  }
  if (!trouble_.ok()) {
    return absl::Status(trouble_.code(),
                        absl::StrCat(what, ": it is read-only since: ", trouble_.message()));
  }
  AMEND_ASSIGN_OR_RETURN(const auto opened, Acquire());
  rocksdb::WriteOptions options;
  options.sync = true;
  const auto start = std::chrono::steady_clock::now();
  const rocksdb::Status status = opened->db->Write(options, batch);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  if (options_.observer != nullptr) options_.observer->OnSync(elapsed.count(), status.ok());
  if (status.ok()) return absl::OkStatus();
  in_doubt_ = *batch;
  const absl::Status error = TranslateStatus(status, what);
  SetTrouble(error);
  if (options_.on_trouble) options_.on_trouble();
  return error;
}

absl::StatusOr<rocksdb::WriteBatch> SyncedDb::UndoOf(const rocksdb::WriteBatch& batch) const {
  AMEND_ASSIGN_OR_RETURN(const auto opened, Acquire());
  UndoBuilder builder(*opened);
  AMEND_RETURN_IF_ERROR(TranslateStatus(
      batch.Iterate(&builder),
      absl::StrCat("read what a write to store ", options_.path, " would have replaced")));
  return std::move(builder.undo);
}

absl::Status SyncedDb::TryDisk() const {
  rocksdb::Env& env = *options_.env;
  uint64_t needed = kRoomToOpen;
  std::vector<std::string> files;
  AMEND_RETURN_IF_ERROR(TranslateStatus(env.GetChildren(options_.path, &files),
                                        absl::StrCat("list store ", options_.path)));
  for (const std::string& file : files) {
    uint64_t size = 0;
    if (!absl::EndsWith(file, ".log")) continue;
    if (env.GetFileSize(absl::StrCat(options_.path, "/", file), &size).ok()) needed += size;
  }
  uint64_t room = 0;
  if (env.GetFreeSpace(options_.path, &room).ok() && room < needed) {
    return absl::ResourceExhaustedError(
        absl::StrCat("store ", options_.path, " has room for ", room, " bytes and needs ", needed));
  }
  const std::string trial = absl::StrCat(options_.path, "/", kTrialFile);
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::Status status = env.NewWritableFile(trial, &file, rocksdb::EnvOptions());
  if (status.ok()) status = file->Append(std::string(kTrialBytes, '\0'));
  if (status.ok()) status = file->Sync();
  if (status.ok()) status = file->Close();
  if (file != nullptr) {
    const rocksdb::Status deleted = env.DeleteFile(trial);
    if (status.ok()) status = deleted;
  }
  return TranslateStatus(status, absl::StrCat("write ", trial));
}

absl::Status SyncedDb::Recover() {
  const rocksdb::Status background = listener_->TakeError();
  if (!background.ok() && options_.observer != nullptr) options_.observer->OnBackgroundError();
  if (!background.ok() && trouble_.ok()) {
    SetTrouble(TranslateStatus(background, absl::StrCat("write files of store ", options_.path)));
  }
  if (trouble_.ok()) return absl::OkStatus();
  AMEND_RETURN_IF_ERROR(RecoverFromTrouble());
  trouble_ = absl::OkStatus();
  if (frozen_.ok() && options_.observer != nullptr) options_.observer->OnReadOnly(false, "");
  return absl::OkStatus();
}

absl::Status SyncedDb::RecoverFromTrouble() {
  AMEND_RETURN_IF_ERROR(TryDisk());
  if (in_doubt_) {
    AMEND_ASSIGN_OR_RETURN(undo_, UndoOf(*in_doubt_));
    in_doubt_.reset();
  }
  Close();
  // Those of the database that is closed now.
  listener_->TakeError().PermitUncheckedError();
  AMEND_ASSIGN_OR_RETURN(auto opened, OpenFiles());
  if (undo_) {
    // Before anybody sees it: the log may have held the write that failed.
    rocksdb::WriteOptions options;
    options.sync = true;
    AMEND_RETURN_IF_ERROR(
        TranslateStatus(opened->db->Write(options, &*undo_),
                        absl::StrCat("undo a failed write to store ", options_.path)));
    undo_.reset();
  }
  absl::MutexLock lock(&mutex_);
  opened_ = std::move(opened);
  return absl::OkStatus();
}

}  // namespace amend
