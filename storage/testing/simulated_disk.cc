#include "storage/testing/simulated_disk.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"

namespace amend {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// A file or a directory. Guarded by the disk's mutex.
struct SimulatedDisk::Node {
  bool is_directory = false;
  // Of a file: its bytes now, and those that a power cut leaves.
  std::string bytes;
  std::shared_ptr<const std::string> synced_bytes = std::make_shared<const std::string>();
  // A sync failed: nothing of it is kept any more.
  bool broken = false;
  // Of a directory, the same.
  std::map<std::string, NodePtr> entries;
  std::map<std::string, NodePtr> synced_entries;
};

namespace {

std::string Clean(const std::string& path) {
  std::string clean;
  for (const char c : path) {
    if (c != '/' || !absl::EndsWith(clean, "/")) clean.push_back(c);
  }
  if (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  return clean;
}

std::string DirectoryOf(const std::string& clean) {
  const size_t slash = clean.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : clean.substr(0, slash);
}

std::string LastName(const std::string& clean) { return clean.substr(clean.rfind('/') + 1); }

IOStatus Missing(const std::string& path) {
  return IOStatus::PathNotFound(path, "No such file or directory");
}

class Lock : public rocksdb::FileLock {
 public:
  explicit Lock(std::string path) : path(std::move(path)) {}
  const std::string path;
};

class SilentLogger : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
  size_t GetLogFileSize() const override { return 0; }
};

}  // namespace

std::string NameOf(DiskOperationKind kind) {
  switch (kind) {
    case DiskOperationKind::kCreate:
      return "create";
    case DiskOperationKind::kAppend:
      return "append";
    case DiskOperationKind::kSync:
      return "sync";
    case DiskOperationKind::kTruncate:
      return "truncate";
    case DiskOperationKind::kClose:
      return "close";
    case DiskOperationKind::kRename:
      return "rename";
    case DiskOperationKind::kDelete:
      return "delete";
    case DiskOperationKind::kMakeDirectory:
      return "make directory";
    case DiskOperationKind::kSyncDirectory:
      return "sync directory";
    case DiskOperationKind::kLock:
      return "lock";
    case DiskOperationKind::kOpen:
      return "open";
    case DiskOperationKind::kRead:
      return "read";
    case DiskOperationKind::kList:
      return "list";
  }
  return "?";
}

DiskFault IoErrorFault() { return {IOStatus::IOError("injected", "Input/output error"), false}; }

DiskFault NoSpaceFault() {
  return {IOStatus::NoSpace("injected", "No space left on device"), false};
}

bool ChangesDisk(DiskOperationKind kind) { return kind < DiskOperationKind::kOpen; }

// ---- Open files --------------------------------------------------------------------------------

class SimulatedDisk::SequentialFile : public rocksdb::FSSequentialFile {
 public:
  SequentialFile(const SimulatedDisk* disk, std::string path, NodePtr node)
      : disk_(disk), path_(std::move(path)), node_(std::move(node)) {}

  IOStatus Read(size_t size, const IOOptions& /*options*/, Slice* result, char* scratch,
                IODebugContext* /*debug*/) override {
    const DiskFault fault = disk_->Ask(DiskOperationKind::kRead, path_);
    if (!fault.status.ok()) return fault.status;
    absl::MutexLock lock(&disk_->mutex_);
    const size_t start = std::min<size_t>(offset_, node_->bytes.size());
    const size_t length = std::min(size, node_->bytes.size() - start);
    std::memcpy(scratch, node_->bytes.data() + start, length);
    *result = Slice(scratch, length);
    offset_ = start + length;
    return IOStatus::OK();
  }
  IOStatus Skip(uint64_t size) override {
    offset_ += size;
    return IOStatus::OK();
  }

 private:
  const SimulatedDisk* const disk_;
  const std::string path_;
  const NodePtr node_;
  uint64_t offset_ = 0;
};

class SimulatedDisk::ReadableFile : public rocksdb::FSRandomAccessFile {
 public:
  ReadableFile(const SimulatedDisk* disk, std::string path, NodePtr node)
      : disk_(disk), path_(std::move(path)), node_(std::move(node)) {}

  IOStatus Read(uint64_t offset, size_t size, const IOOptions& /*options*/, Slice* result,
                char* scratch, IODebugContext* /*debug*/) const override {
    const DiskFault fault = disk_->Ask(DiskOperationKind::kRead, path_);
    if (!fault.status.ok()) return fault.status;
    absl::MutexLock lock(&disk_->mutex_);
    const size_t start = std::min<size_t>(offset, node_->bytes.size());
    const size_t length = std::min(size, node_->bytes.size() - start);
    std::memcpy(scratch, node_->bytes.data() + start, length);
    *result = Slice(scratch, length);
    return IOStatus::OK();
  }

 private:
  const SimulatedDisk* const disk_;
  const std::string path_;
  const NodePtr node_;
};

class SimulatedDisk::WritableFile : public rocksdb::FSWritableFile {
 public:
  WritableFile(const SimulatedDisk* disk, std::string path, NodePtr node)
      : disk_(disk), path_(std::move(path)), node_(std::move(node)) {}

  using FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions& /*options*/,
                  IODebugContext* /*debug*/) override {
    const DiskFault fault = disk_->Ask(DiskOperationKind::kAppend, path_);
    absl::MutexLock lock(&disk_->mutex_);
    if (fault.status.ok()) {
      node_->bytes.append(data.data(), data.size());
    } else if (fault.partly) {
      node_->bytes.append(data.data(), data.size() / 2);
    }
    return fault.status;
  }
  IOStatus Truncate(uint64_t size, const IOOptions& /*options*/,
                    IODebugContext* /*debug*/) override {
    const DiskFault fault = disk_->Ask(DiskOperationKind::kTruncate, path_);
    if (!fault.status.ok()) return fault.status;
    absl::MutexLock lock(&disk_->mutex_);
    node_->bytes.resize(size);
    return IOStatus::OK();
  }
  IOStatus Close(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    return disk_->Ask(DiskOperationKind::kClose, path_).status;
  }
  IOStatus Flush(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    return IOStatus::OK();
  }
  IOStatus Sync(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    const DiskFault fault = disk_->Ask(DiskOperationKind::kSync, path_);
    absl::MutexLock lock(&disk_->mutex_);
    if (!fault.status.ok()) {
      node_->broken = true;
    } else if (!node_->broken) {
      node_->synced_bytes = std::make_shared<const std::string>(node_->bytes);
    }
    return fault.status;
  }
  bool IsSyncThreadSafe() const override { return true; }
  uint64_t GetFileSize(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    absl::MutexLock lock(&disk_->mutex_);
    return node_->bytes.size();
  }

 private:
  const SimulatedDisk* const disk_;
  const std::string path_;
  const NodePtr node_;
};

class SimulatedDisk::Directory : public rocksdb::FSDirectory {
 public:
  Directory(const SimulatedDisk* disk, std::string path, NodePtr node)
      : disk_(disk), path_(std::move(path)), node_(std::move(node)) {}

  IOStatus Fsync(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    const DiskFault fault = disk_->Ask(DiskOperationKind::kSyncDirectory, path_);
    if (!fault.status.ok()) return fault.status;
    absl::MutexLock lock(&disk_->mutex_);
    node_->synced_entries = node_->entries;
    return IOStatus::OK();
  }
  IOStatus Close(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    return IOStatus::OK();
  }

 private:
  const SimulatedDisk* const disk_;
  const std::string path_;
  const NodePtr node_;
};

// ---- The tree ----------------------------------------------------------------------------------

SimulatedDisk::SimulatedDisk() : root_(std::make_shared<Node>()) {
  absl::MutexLock lock(&mutex_);
  root_->is_directory = true;
}

SimulatedDisk::~SimulatedDisk() = default;

void SimulatedDisk::set_free_space(uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  free_space_ = bytes;
}

DiskFault SimulatedDisk::Ask(DiskOperationKind kind, const std::string& path) const {
  return hook_ ? hook_({kind, path}) : DiskFault();
}

SimulatedDisk::NodePtr SimulatedDisk::Find(const std::string& path) const {
  NodePtr node = root_;
  const std::string clean = Clean(path);
  size_t start = 1;
  while (start < clean.size()) {
    const size_t end = std::min(clean.find('/', start), clean.size());
    const auto found = node->entries.find(clean.substr(start, end - start));
    if (found == node->entries.end()) return nullptr;
    node = found->second;
    start = end + 1;
  }
  return node;
}

SimulatedDisk::NodePtr SimulatedDisk::Parent(const std::string& path) const {
  const NodePtr parent = Find(DirectoryOf(Clean(path)));
  return parent != nullptr && parent->is_directory ? parent : nullptr;
}

IOStatus SimulatedDisk::Open(const std::string& path, NodePtr* node) {
  const DiskFault fault = Ask(DiskOperationKind::kOpen, path);
  if (!fault.status.ok()) return fault.status;
  absl::MutexLock lock(&mutex_);
  *node = Find(path);
  return *node == nullptr ? Missing(path) : IOStatus::OK();
}

IOStatus SimulatedDisk::Create(const std::string& path, bool is_directory, bool keep_existing,
                               NodePtr* node) {
  const DiskFault fault =
      Ask(is_directory ? DiskOperationKind::kMakeDirectory : DiskOperationKind::kCreate, path);
  if (!fault.status.ok()) return fault.status;
  absl::MutexLock lock(&mutex_);
  const NodePtr parent = Parent(path);
  if (parent == nullptr) return Missing(path);
  NodePtr& entry = parent->entries[LastName(Clean(path))];
  if (entry != nullptr && !keep_existing) {
    if (is_directory) return IOStatus::IOError(path, "File exists");
    // Truncated: the old bytes are left after a power cut, until the next sync.
    entry->bytes.clear();
  }
  if (entry == nullptr) {
    entry = std::make_shared<Node>();
    entry->is_directory = is_directory;
  }
  if (entry->is_directory != is_directory) return IOStatus::IOError(path, "Not a directory");
  *node = entry;
  return IOStatus::OK();
}

SimulatedDisk::NodePtr SimulatedDisk::Settle(const Node& node, std::mt19937_64* random) {
  const auto coin = [random] { return random != nullptr && (*random)() % 2 == 0; };
  auto settled = std::make_shared<Node>();
  settled->is_directory = node.is_directory;
  if (!node.is_directory) {
    settled->bytes = *node.synced_bytes;
    if (random != nullptr && absl::StartsWith(node.bytes, *node.synced_bytes)) {
      const size_t more = node.bytes.size() - node.synced_bytes->size();
      settled->bytes = node.bytes.substr(0, node.synced_bytes->size() + (*random)() % (more + 1));
    } else if (coin()) {
      settled->bytes = node.bytes;
    }
    settled->synced_bytes = std::make_shared<const std::string>(settled->bytes);
    return settled;
  }
  std::map<std::string, NodePtr> left = node.synced_entries;
  if (random != nullptr) {
    for (const auto& [name, entry] : node.entries) {
      if (coin()) left[name] = entry;
    }
    for (const auto& [name, entry] : node.synced_entries) {
      if (node.entries.count(name) == 0 && coin()) left.erase(name);
    }
  }
  for (const auto& [name, entry] : left) settled->entries[name] = Settle(*entry, random);
  settled->synced_entries = settled->entries;
  return settled;
}

SimulatedDisk::NodePtr SimulatedDisk::Copy(const Node& node, std::map<const Node*, NodePtr>* done) {
  NodePtr& copy = (*done)[&node];
  if (copy != nullptr) return copy;
  copy = std::make_shared<Node>(node);
  const NodePtr result = copy;
  for (auto* entries : {&result->entries, &result->synced_entries}) {
    for (auto& [name, entry] : *entries) entry = Copy(*entry, done);
  }
  return result;
}

std::shared_ptr<SimulatedDisk> SimulatedDisk::AfterPowerCut() const {
  auto disk = std::make_shared<SimulatedDisk>();
  absl::MutexLock lock(&mutex_);
  absl::MutexLock new_lock(&disk->mutex_);
  disk->root_ = Settle(*root_, nullptr);
  return disk;
}

std::shared_ptr<SimulatedDisk> SimulatedDisk::AfterPowerCut(std::mt19937_64& random) const {
  auto disk = std::make_shared<SimulatedDisk>();
  absl::MutexLock lock(&mutex_);
  absl::MutexLock new_lock(&disk->mutex_);
  disk->root_ = Settle(*root_, &random);
  return disk;
}

std::shared_ptr<SimulatedDisk> SimulatedDisk::AfterKill() const {
  auto disk = std::make_shared<SimulatedDisk>();
  std::map<const Node*, NodePtr> done;
  absl::MutexLock lock(&mutex_);
  absl::MutexLock new_lock(&disk->mutex_);
  disk->root_ = Copy(*root_, &done);
  return disk;
}

std::string SimulatedDisk::Digest() const {
  Sha256Stream digest;
  const auto add = [&digest](const std::string& bytes) {
    digest.Update(absl::StrCat(bytes.size(), ":"));
    digest.Update(bytes);
  };
  // A file may have two names, so nodes are numbered in the order in which they are met.
  std::map<const Node*, size_t> numbers;
  const std::function<void(const Node&)> visit = [&](const Node& node) {
    const auto [number, is_new] = numbers.emplace(&node, numbers.size());
    digest.Update(absl::StrCat("#", number->second, ";"));
    if (!is_new) return;
    digest.Update(absl::StrCat(node.is_directory, node.broken, ";"));
    add(node.bytes);
    add(*node.synced_bytes);
    for (const auto* entries : {&node.entries, &node.synced_entries}) {
      digest.Update(absl::StrCat(entries->size(), ";"));
      for (const auto& [name, entry] : *entries) {
        add(name);
        visit(*entry);
      }
    }
  };
  absl::MutexLock lock(&mutex_);
  visit(*root_);
  return digest.HexDigest();
}

std::vector<std::string> SimulatedDisk::Files() const {
  std::vector<std::string> files;
  const std::function<void(const std::string&, const Node&)> list = [&](const std::string& path,
                                                                        const Node& node) {
    if (!node.is_directory) files.push_back(path);
    for (const auto& [name, entry] : node.entries) list(absl::StrCat(path, "/", name), *entry);
  };
  absl::MutexLock lock(&mutex_);
  list("", *root_);
  return files;
}

// ---- FileSystem --------------------------------------------------------------------------------

IOStatus SimulatedDisk::NewSequentialFile(const std::string& path,
                                          const rocksdb::FileOptions& /*options*/,
                                          std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                          IODebugContext* /*debug*/) {
  NodePtr node;
  const IOStatus status = Open(path, &node);
  if (status.ok()) *file = std::make_unique<SequentialFile>(this, path, std::move(node));
  return status;
}

IOStatus SimulatedDisk::NewRandomAccessFile(const std::string& path,
                                            const rocksdb::FileOptions& /*options*/,
                                            std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                            IODebugContext* /*debug*/) {
  NodePtr node;
  const IOStatus status = Open(path, &node);
  if (status.ok()) *file = std::make_unique<ReadableFile>(this, path, std::move(node));
  return status;
}

IOStatus SimulatedDisk::NewWritableFile(const std::string& path,
                                        const rocksdb::FileOptions& /*options*/,
                                        std::unique_ptr<rocksdb::FSWritableFile>* file,
                                        IODebugContext* /*debug*/) {
  NodePtr node;
  const IOStatus status = Create(path, false, false, &node);
  if (status.ok()) *file = std::make_unique<WritableFile>(this, path, std::move(node));
  return status;
}

IOStatus SimulatedDisk::ReopenWritableFile(const std::string& path,
                                           const rocksdb::FileOptions& /*options*/,
                                           std::unique_ptr<rocksdb::FSWritableFile>* file,
                                           IODebugContext* /*debug*/) {
  NodePtr node;
  const IOStatus status = Create(path, false, true, &node);
  if (status.ok()) *file = std::make_unique<WritableFile>(this, path, std::move(node));
  return status;
}

IOStatus SimulatedDisk::NewDirectory(const std::string& path, const IOOptions& /*options*/,
                                     std::unique_ptr<rocksdb::FSDirectory>* directory,
                                     IODebugContext* /*debug*/) {
  NodePtr node;
  const IOStatus status = Open(path, &node);
  if (!status.ok()) return status;
  *directory = std::make_unique<Directory>(this, path, std::move(node));
  return status;
}

IOStatus SimulatedDisk::FileExists(const std::string& path, const IOOptions& /*options*/,
                                   IODebugContext* /*debug*/) {
  const DiskFault fault = Ask(DiskOperationKind::kList, path);
  if (!fault.status.ok()) return fault.status;
  absl::MutexLock lock(&mutex_);
  return Find(path) == nullptr ? IOStatus::NotFound(path) : IOStatus::OK();
}

IOStatus SimulatedDisk::GetChildren(const std::string& path, const IOOptions& /*options*/,
                                    std::vector<std::string>* names, IODebugContext* /*debug*/) {
  const DiskFault fault = Ask(DiskOperationKind::kList, path);
  if (!fault.status.ok()) return fault.status;
  absl::MutexLock lock(&mutex_);
  const NodePtr node = Find(path);
  names->clear();
  if (node == nullptr || !node->is_directory) return IOStatus::NotFound(path);
  for (const auto& [name, entry] : node->entries) names->push_back(name);
  return IOStatus::OK();
}

IOStatus SimulatedDisk::DeleteFile(const std::string& path, const IOOptions& /*options*/,
                                   IODebugContext* /*debug*/) {
  const DiskFault fault = Ask(DiskOperationKind::kDelete, path);
  if (!fault.status.ok()) return fault.status;
  absl::MutexLock lock(&mutex_);
  if (Find(path) == nullptr) return Missing(path);
  Parent(path)->entries.erase(LastName(Clean(path)));
  return IOStatus::OK();
}

IOStatus SimulatedDisk::CreateDir(const std::string& path, const IOOptions& /*options*/,
                                  IODebugContext* /*debug*/) {
  NodePtr node;
  return Create(path, true, false, &node);
}

IOStatus SimulatedDisk::CreateDirIfMissing(const std::string& path, const IOOptions& /*options*/,
                                           IODebugContext* /*debug*/) {
  NodePtr node;
  return Create(path, true, true, &node);
}

IOStatus SimulatedDisk::DeleteDir(const std::string& path, const IOOptions& options,
                                  IODebugContext* debug) {
  return DeleteFile(path, options, debug);
}

IOStatus SimulatedDisk::GetFileSize(const std::string& path, const IOOptions& /*options*/,
                                    uint64_t* size, IODebugContext* /*debug*/) {
  const DiskFault fault = Ask(DiskOperationKind::kList, path);
  if (!fault.status.ok()) return fault.status;
  absl::MutexLock lock(&mutex_);
  const NodePtr node = Find(path);
  if (node == nullptr) return Missing(path);
  *size = node->bytes.size();
  return IOStatus::OK();
}

IOStatus SimulatedDisk::GetFileModificationTime(const std::string& path,
                                                const IOOptions& /*options*/, uint64_t* time,
                                                IODebugContext* /*debug*/) {
  absl::MutexLock lock(&mutex_);
  *time = 0;
  return Find(path) == nullptr ? Missing(path) : IOStatus::OK();
}

IOStatus SimulatedDisk::RenameFile(const std::string& from, const std::string& to,
                                   const IOOptions& /*options*/, IODebugContext* /*debug*/) {
  const DiskFault fault = Ask(DiskOperationKind::kRename, to);
  if (!fault.status.ok()) return fault.status;
  absl::MutexLock lock(&mutex_);
  const NodePtr node = Find(from);
  const NodePtr directory = Parent(to);
  if (node == nullptr || directory == nullptr) return Missing(from);
  Parent(from)->entries.erase(LastName(Clean(from)));
  directory->entries[LastName(Clean(to))] = node;
  return IOStatus::OK();
}

IOStatus SimulatedDisk::LockFile(const std::string& path, const IOOptions& /*options*/,
                                 rocksdb::FileLock** lock, IODebugContext* /*debug*/) {
  const DiskFault fault = Ask(DiskOperationKind::kLock, path);
  if (!fault.status.ok()) return fault.status;
  absl::MutexLock mutex_lock(&mutex_);
  const NodePtr parent = Parent(path);
  if (parent == nullptr) return Missing(path);
  if (!locked_.insert(Clean(path)).second) {
    return IOStatus::IOError(absl::StrCat("While lock file: ", path), "lock held");
  }
  NodePtr& entry = parent->entries[LastName(Clean(path))];
  if (entry == nullptr) entry = std::make_shared<Node>();
  *lock = new Lock(Clean(path));
  return IOStatus::OK();
}

IOStatus SimulatedDisk::UnlockFile(rocksdb::FileLock* lock, const IOOptions& /*options*/,
                                   IODebugContext* /*debug*/) {
  const std::unique_ptr<Lock> held(static_cast<Lock*>(lock));
  absl::MutexLock mutex_lock(&mutex_);
  locked_.erase(held->path);
  return IOStatus::OK();
}

IOStatus SimulatedDisk::GetTestDirectory(const IOOptions& /*options*/, std::string* path,
                                         IODebugContext* /*debug*/) {
  *path = "/";
  return IOStatus::OK();
}

IOStatus SimulatedDisk::NewLogger(const std::string& path, const IOOptions& /*options*/,
                                  std::shared_ptr<rocksdb::Logger>* logger,
                                  IODebugContext* /*debug*/) {
  NodePtr node;
  const IOStatus status = Create(path, false, true, &node);
  if (status.ok()) *logger = std::make_shared<SilentLogger>();
  return status;
}

IOStatus SimulatedDisk::GetAbsolutePath(const std::string& path, const IOOptions& /*options*/,
                                        std::string* absolute, IODebugContext* /*debug*/) {
  *absolute = Clean(path);
  return IOStatus::OK();
}

IOStatus SimulatedDisk::IsDirectory(const std::string& path, const IOOptions& /*options*/,
                                    bool* is_directory, IODebugContext* /*debug*/) {
  absl::MutexLock lock(&mutex_);
  const NodePtr node = Find(path);
  if (node == nullptr) return Missing(path);
  *is_directory = node->is_directory;
  return IOStatus::OK();
}

IOStatus SimulatedDisk::GetFreeSpace(const std::string& /*path*/, const IOOptions& /*options*/,
                                     uint64_t* bytes, IODebugContext* /*debug*/) {
  absl::MutexLock lock(&mutex_);
  *bytes = free_space_;
  return IOStatus::OK();
}

}  // namespace amend
