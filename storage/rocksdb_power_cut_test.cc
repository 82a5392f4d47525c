// Cuts the power at every operation that a history of a store does on its disk, and looks at what
// is left: everything that was acknowledged is there, one write at most that was not, and nothing
// in part. What a start has shown is there after the next cut too, and the history can go on.
//
// Plain power cuts come at every operation. AMEND_TEST_STRIDE=1 also brings every operation into
// the tests that cost more; a larger number leaves operations out of them. Most operations sync
// nothing, so that many cuts leave the same disk: what was checked of a disk is not checked again.

#include <atomic>
#include <cstdio>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/testing/simulated_disk.h"
#include "storage/testing/store_trial.h"

namespace amend {
namespace {

constexpr int kRestarts = 7;

// The world just before an operation.
struct Moment {
  std::string operation;
  // Steps of the script that were acknowledged, and that had begun.
  int acknowledged = 0;
  int begun = 0;
  // With all that is not synced.
  DiskPtr disk;
};

// Hears of the operations of a disk and keeps a moment for each that changes it.
class Recorder {
 public:
  explicit Recorder(SimulatedDisk* disk) {
    disk->set_hook([this, disk](const DiskOperation& operation) {
      if (ChangesDisk(operation.kind)) Keep(*disk, operation);
      return DiskFault();
    });
  }
  void Begin() { ++begun_; }
  void Acknowledge() { ++acknowledged_; }
  std::vector<Moment> Take() {
    absl::MutexLock lock(&mutex_);
    return std::move(moments_);
  }

 private:
  void Keep(const SimulatedDisk& disk, const DiskOperation& operation) {
    Moment moment;
    moment.acknowledged = acknowledged_;
    moment.disk = disk.AfterKill();
    moment.begun = begun_;
    absl::MutexLock lock(&mutex_);
    moment.operation = absl::StrCat("operation ", moments_.size(), ", ", NameOf(operation.kind),
                                    " ", operation.path);
    moments_.push_back(std::move(moment));
  }

  std::atomic<int> acknowledged_{0};
  std::atomic<int> begun_{0};
  absl::Mutex mutex_;
  std::vector<Moment> moments_ ABSL_GUARDED_BY(mutex_);
};

class PowerCut : public testing::Test {
 protected:
  PowerCut() {
    std::printf("seed %u, stride %u (AMEND_TEST_SEED, AMEND_TEST_STRIDE)\n", seed_, stride_);
  }

  // First the store is opened; the script follows.
  std::vector<Moment> RunScript() {
    Machine machine(std::make_shared<SimulatedDisk>());
    Recorder recorder(machine.disk.get());
    EXPECT_THAT(machine.Start(), IsOk());
    for (int i = 0; i < trial_.size(); ++i) {
      recorder.Begin();
      EXPECT_THAT(trial_.Do(i, &machine), IsOk()) << trial_.script()[i].name;
      recorder.Acknowledge();
    }
    machine.store.reset();
    std::vector<Moment> moments = recorder.Take();
    moments.push_back({"the end", trial_.size(), trial_.size(), machine.disk->AfterKill()});
    return moments;
  }
  // Digest, steps acknowledged, steps begun.
  using Disks = std::set<std::tuple<std::string, int, int>>;

  static bool IsNew(const SimulatedDisk& disk, const Moment& moment, Disks* met) {
    return met->emplace(disk.Digest(), moment.acknowledged, moment.begun).second;
  }
  void Check(const DiskPtr& disk, const Moment& moment) {
    ++cuts_;
    if (!IsNew(*disk, moment, &checked_)) return;
    trial_.CheckDisk(disk, moment.acknowledged, moment.begun);
  }
  std::string Cuts(const std::string& what) const {
    return absl::StrCat(cuts_, " ", what, ", ", checked_.size(), " different disks\n");
  }
  bool IsInStride(size_t i) const { return (i + seed_) % stride_ == 0; }

  const unsigned seed_ = FromEnvironment("AMEND_TEST_SEED", std::random_device()());
  const unsigned stride_ = FromEnvironment("AMEND_TEST_STRIDE", 16);
  const StoreTrial trial_{kRestarts};
  int cuts_ = 0;
  Disks checked_;
};

TEST_F(PowerCut, AtEveryOperationLosesNothingAcknowledgedAndShowsNothingInPart) {
  const std::vector<Moment> moments = RunScript();
  for (const Moment& moment : moments) {
    SCOPED_TRACE(absl::StrCat("power cut before ", moment.operation));
    Check(moment.disk->AfterPowerCut(), moment);
    if (HasFailure()) break;
  }
  std::printf("%zu operations, %s", moments.size() - 1, Cuts("power cuts").c_str());
}

TEST_F(PowerCut, ThatKeepsSomeOfWhatWasNotSyncedIsSurvivedToo) {
  std::mt19937 choose(seed_);
  const std::vector<Moment> moments = RunScript();
  for (size_t i = 0; i < moments.size() && !HasFailure(); ++i) {
    if (!IsInStride(i)) continue;
    std::mt19937_64 random(choose());
    SCOPED_TRACE(absl::StrCat("seed ", seed_, ", power cut before ", moments[i].operation));
    Check(moments[i].disk->AfterPowerCut(random), moments[i]);
  }
  std::fputs(Cuts("power cuts").c_str(), stdout);
}

TEST_F(PowerCut, AfterAKillAndAStartTakesNothingThatTheStartShowed) {
  const std::vector<Moment> moments = RunScript();
  for (size_t i = 0; i < moments.size() && !HasFailure(); ++i) {
    if (!IsInStride(i)) continue;
    SCOPED_TRACE(absl::StrCat("killed before ", moments[i].operation));
    Check(moments[i].disk->AfterKill(), moments[i]);
  }
  std::fputs(Cuts("kills, each with a power cut after the start").c_str(), stdout);
}

TEST_F(PowerCut, WhileAStartRecoversLosesNothing) {
  const std::vector<Moment> moments = RunScript();
  Disks started;
  for (size_t i = 0; i < moments.size() && !HasFailure(); ++i) {
    // Each brings as many cuts as the start has operations.
    if (stride_ > 1 && (i + seed_) % (8 * stride_) != 0) continue;
    const DiskPtr disk = moments[i].disk->AfterPowerCut();
    if (!IsNew(*disk, moments[i], &started)) continue;
    Machine machine(disk);
    Recorder recorder(machine.disk.get());
    ASSERT_THAT(machine.Start(), IsOk());
    machine.store.reset();
    for (const Moment& during : recorder.Take()) {
      SCOPED_TRACE(absl::StrCat("power cut before ", moments[i].operation,
                                ", again in the start before ", during.operation));
      Check(during.disk->AfterPowerCut(), moments[i]);
      if (HasFailure()) break;
    }
  }
  std::printf("%zu starts, %s", started.size(), Cuts("power cuts in starts").c_str());
}

}  // namespace
}  // namespace amend
