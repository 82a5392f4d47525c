#ifndef AMEND_STORAGE_TESTING_STORE_TRIAL_H_
#define AMEND_STORAGE_TESTING_STORE_TRIAL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "rocksdb/env.h"
#include "storage/revision_store.h"
#include "storage/store_observer.h"
#include "storage/testing/simulated_disk.h"
#include "storage/testing/store_script.h"

namespace amend {

using DiskPtr = std::shared_ptr<SimulatedDisk>;

// Where the stores of these tests lie.
inline constexpr char kTrialPath[] = "/var/lib/amend/store";

// Knows whether a store is read-only. Thread-safe.
class ReadOnlyWatch : public StoreObserver {
 public:
  void OnSync(double /*seconds*/, bool /*ok*/) override {}
  void OnReadOnly(bool read_only, absl::string_view why) override ABSL_LOCKS_EXCLUDED(mutex_);
  bool read_only() const ABSL_LOCKS_EXCLUDED(mutex_);
  // How often the store became read-only.
  int times() const ABSL_LOCKS_EXCLUDED(mutex_);
  // False when the store is still read-only after a long time.
  bool WaitUntilWritable() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable absl::Mutex mutex_;
  bool writable_ ABSL_GUARDED_BY(mutex_) = true;
  int times_ ABSL_GUARDED_BY(mutex_) = 0;
};

// A store on a disk of its own.
struct Machine {
  explicit Machine(DiskPtr its_disk);
  // Opens the store, again if it is open.
  absl::Status Start();

  const DiskPtr disk;
  const std::unique_ptr<rocksdb::Env> env;
  ReadOnlyWatch watch;
  std::unique_ptr<RevisionStore> store;
};

// A script, and what a store may be after a part of it.
class StoreTrial {
 public:
  explicit StoreTrial(int restarts);

  const std::vector<ScriptStep>& script() const { return script_; }
  int size() const { return static_cast<int>(script_.size()); }
  // Does step `index` on the machine; a restart opens the store again.
  absl::Status Do(int index, Machine* machine) const;
  // The state after so many steps.
  const RevisionStore& StateAfter(int steps) const { return *states_[steps]; }
  // How many steps the store shows, of those that are acknowledged to those that had begun. -1,
  // and a failure of the test, when it is in none of these states.
  int Shown(const RevisionStore& store, int acknowledged, int begun) const;
  // Starts on a disk that a cut left, cuts the power, starts again, goes on to the end of the
  // script, cuts and starts again: nothing that was acknowledged or shown may be gone, and nothing
  // be there in part.
  void CheckDisk(const DiskPtr& disk, int acknowledged, int begun) const;

 private:
  const std::vector<ScriptStep> script_;
  std::vector<std::unique_ptr<RevisionStore>> states_;
};

// The number in an environment variable.
unsigned FromEnvironment(const char* name, unsigned otherwise);

}  // namespace amend

#endif  // AMEND_STORAGE_TESTING_STORE_TRIAL_H_
