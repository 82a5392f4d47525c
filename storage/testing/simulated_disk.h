#ifndef AMEND_STORAGE_TESTING_SIMULATED_DISK_H_
#define AMEND_STORAGE_TESTING_SIMULATED_DISK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"

namespace amend {

enum class DiskOperationKind {
  kCreate,
  kAppend,
  kSync,
  kTruncate,
  kClose,
  kRename,
  kDelete,
  kMakeDirectory,
  kSyncDirectory,
  kLock,
  // These change nothing.
  kOpen,
  kRead,
  kList,
};

std::string NameOf(DiskOperationKind kind);
// Whether a power cut just before it and one just after it can differ.
bool ChangesDisk(DiskOperationKind kind);

struct DiskOperation {
  DiskOperationKind kind = DiskOperationKind::kCreate;
  std::string path;
};

// What becomes of an operation: with an error it is not done.
struct DiskFault {
  rocksdb::IOStatus status;
  // The first half of an append is done all the same: a short write.
  bool partly = false;
};

// "Input/output error" and "No space left on device".
DiskFault IoErrorFault();
DiskFault NoSpaceFault();

// A file system in memory that knows what a power cut would leave: the bytes of a file that were
// synced, and the entries of a directory that were there when the directory was synced. It is as
// forgetful as POSIX allows: syncing a new file does not keep its name, a rename orders nothing,
// and a sync that failed loses the bytes for good: they can be read until the power is cut, and a
// later sync says OK without keeping them.
//
// Thread-safe. Outlives its open files.
class SimulatedDisk : public rocksdb::FileSystem {
 public:
  using Hook = std::function<DiskFault(const DiskOperation&)>;

  SimulatedDisk();
  ~SimulatedDisk() override;

  // Called before each operation, by the thread that does it, with no lock held; may copy this
  // disk. Set while nothing runs.
  void set_hook(Hook hook) { hook_ = std::move(hook); }
  // Free bytes that programs are told of; no more than that.
  void set_free_space(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  // The disk after the power was cut now: nothing is left of what was not synced.
  std::shared_ptr<SimulatedDisk> AfterPowerCut() const ABSL_LOCKS_EXCLUDED(mutex_);
  // The same, but of each file some of the bytes that were appended are left, and each directory
  // entry may be as it was or as it is.
  std::shared_ptr<SimulatedDisk> AfterPowerCut(std::mt19937_64& random) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The disk after all programs were killed now: all is there, but what was not synced may still
  // be lost.
  std::shared_ptr<SimulatedDisk> AfterKill() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Of all that programs and power cuts can find on it: disks with the same digest behave alike.
  std::string Digest() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Full names of all files, sorted.
  std::vector<std::string> Files() const ABSL_LOCKS_EXCLUDED(mutex_);

  const char* Name() const override { return "SimulatedDisk"; }
  rocksdb::IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                      rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewRandomAccessFile(const std::string& path,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus FileExists(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetChildren(const std::string& path, const rocksdb::IOOptions& options,
                                std::vector<std::string>* names,
                                rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus CreateDir(const std::string& path, const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus CreateDirIfMissing(const std::string& path, const rocksdb::IOOptions& options,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteDir(const std::string& path, const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetFileSize(const std::string& path, const rocksdb::IOOptions& options,
                                uint64_t* size, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetFileModificationTime(const std::string& path,
                                            const rocksdb::IOOptions& options, uint64_t* time,
                                            rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus LockFile(const std::string& path, const rocksdb::IOOptions& options,
                             rocksdb::FileLock** lock, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus UnlockFile(rocksdb::FileLock* lock, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetTestDirectory(const rocksdb::IOOptions& options, std::string* path,
                                     rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewLogger(const std::string& path, const rocksdb::IOOptions& options,
                              std::shared_ptr<rocksdb::Logger>* logger,
                              rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetAbsolutePath(const std::string& path, const rocksdb::IOOptions& options,
                                    std::string* absolute, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus IsDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                bool* is_directory, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetFreeSpace(const std::string& path, const rocksdb::IOOptions& options,
                                 uint64_t* bytes, rocksdb::IODebugContext* debug) override;

 private:
  struct Node;
  class ReadableFile;
  class SequentialFile;
  class WritableFile;
  class Directory;
  using NodePtr = std::shared_ptr<Node>;

  DiskFault Ask(DiskOperationKind kind, const std::string& path) const;
  NodePtr Find(const std::string& path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The directory that holds `path`; null when it is not there.
  NodePtr Parent(const std::string& path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  rocksdb::IOStatus Open(const std::string& path, NodePtr* node) ABSL_LOCKS_EXCLUDED(mutex_);
  rocksdb::IOStatus Create(const std::string& path, bool is_directory, bool keep_existing,
                           NodePtr* node) ABSL_LOCKS_EXCLUDED(mutex_);
  static NodePtr Settle(const Node& node, std::mt19937_64* random);
  static NodePtr Copy(const Node& node, std::map<const Node*, NodePtr>* done);

  Hook hook_;
  // Guards the whole tree. Shared with open files.
  mutable absl::Mutex mutex_;
  NodePtr root_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> locked_ ABSL_GUARDED_BY(mutex_);
  uint64_t free_space_ ABSL_GUARDED_BY(mutex_) = uint64_t{1} << 40;
};

}  // namespace amend

#endif  // AMEND_STORAGE_TESTING_SIMULATED_DISK_H_
