// Lets every operation that a history of a store does on its disk fail, once or until the disk is
// healed: the step gets an error that names the store, nothing of it is there, the process lives,
// and the store takes writes again by itself.
//
// AMEND_TEST_STRIDE=1 brings in every operation; a larger number leaves some out.

#include <atomic>
#include <cstdio>
#include <memory>
#include <random>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/testing/simulated_disk.h"
#include "storage/testing/store_trial.h"

namespace amend {
namespace {

using testing::HasSubstr;

constexpr int kRestarts = 4;

enum class Kind { kIoError, kNoSpace, kShortWrite };

DiskFault FaultOf(Kind kind) {
  DiskFault fault = kind == Kind::kIoError ? IoErrorFault() : NoSpaceFault();
  fault.partly = kind == Kind::kShortWrite;
  return fault;
}

// Whether an operation can fail in this way.
bool Fits(Kind kind, DiskOperationKind operation) {
  switch (operation) {
    case DiskOperationKind::kOpen:
    case DiskOperationKind::kRead:
    case DiskOperationKind::kList:
    case DiskOperationKind::kLock:
      return kind == Kind::kIoError;
    case DiskOperationKind::kAppend:
      return true;
    default:
      return kind != Kind::kShortWrite;
  }
}

// Makes one operation fail, and, where the fault lasts, all that follow until Heal.
class Saboteur {
 public:
  Saboteur(SimulatedDisk* disk, Kind kind, int operation, bool lasts) {
    disk->set_hook([this, kind, operation, lasts](const DiskOperation& done) {
      if (!Fits(kind, done.kind)) return DiskFault();
      const int number = count_++;
      if (healed_ || number < operation || (number > operation && !lasts)) return DiskFault();
      ++hits_;
      return FaultOf(kind);
    });
  }
  void Heal() { healed_ = true; }
  int hits() const { return hits_; }

 private:
  std::atomic<int> count_{0};
  std::atomic<int> hits_{0};
  std::atomic<bool> healed_{false};
};

class DiskFaultTest : public testing::TestWithParam<Kind> {
 protected:
  void ExpectFaultNamed(const absl::Status& status, bool opening) {
    // While it opens, RocksDB has words of its own for files that it cannot look at, and adds why.
    const bool wrapped = opening && absl::StrContains(status.message(), "injected");
    EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsResourceExhausted(status) || wrapped)
        << status;
    EXPECT_THAT(status.message(), HasSubstr(kTrialPath));
  }

  // The store says no more than that it is being opened again for a moment after an error, of which
  // RocksDB's own threads may tell at any time.
  std::string DifferenceWhenOpen(const Machine& machine, int steps) const {
    while (true) {
      if (!machine.watch.WaitUntilWritable()) return "still read-only";
      const std::string difference = DifferenceOf(*machine.store, trial_.StateAfter(steps));
      if (!absl::StrContains(difference, "being opened again")) return difference;
    }
  }

  // A step failed: nothing of it is there, not even after a kill or a power cut and a start, unless
  // all of it is. Then the disk is healed and the step succeeds.
  void CheckFailedStep(int index, const absl::Status& failed, Machine* machine,
                       Saboteur* saboteur) {
    ++failed_steps_;
    const bool restart = trial_.script()[index].write == nullptr;
    ExpectFaultNamed(failed, restart);
    const int begun = restart ? index : index + 1;
    const DiskPtr killed = machine->disk->AfterKill();
    const DiskPtr cut = machine->disk->AfterPowerCut();
    saboteur->Heal();
    trial_.CheckDisk(killed, index, begun);
    trial_.CheckDisk(cut, index, begun);
    if (restart) {
      ASSERT_THAT(machine->Start(), IsOk());
      return;
    }
    ASSERT_EQ(DifferenceWhenOpen(*machine, index), "");
    ASSERT_THAT(trial_.Do(index, machine), IsOk());
  }

  // False when the script has no such operation.
  bool RunWithFault(int operation, bool lasts) {
    Machine machine(std::make_shared<SimulatedDisk>());
    Saboteur saboteur(machine.disk.get(), GetParam(), operation, lasts);
    const absl::Status opened = machine.Start();
    if (!opened.ok()) {
      ++failed_steps_;
      ExpectFaultNamed(opened, true);
      saboteur.Heal();
      EXPECT_THAT(machine.Start(), IsOk());
      if (HasFailure()) return false;
    }
    for (int i = 0; i < trial_.size() && !HasFailure(); ++i) {
      SCOPED_TRACE(trial_.script()[i].name);
      // An error of RocksDB's own threads may be on its way out.
      if (!lasts) {
        EXPECT_TRUE(machine.watch.WaitUntilWritable());
      }
      const absl::Status done = trial_.Do(i, &machine);
      if (!done.ok()) CheckFailedStep(i, done, &machine, &saboteur);
    }
    if (saboteur.hits() == 0) return false;
    ++faults_;
    saboteur.Heal();
    EXPECT_EQ(DifferenceWhenOpen(machine, trial_.size()), "");
    trial_.CheckDisk(machine.disk->AfterPowerCut(), trial_.size(), trial_.size());
    return !HasFailure();
  }

  void RunAll(bool lasts) {
    const unsigned seed = FromEnvironment("AMEND_TEST_SEED", std::random_device()());
    const unsigned stride = FromEnvironment("AMEND_TEST_STRIDE", 16);
    std::printf("seed %u, stride %u (AMEND_TEST_SEED, AMEND_TEST_STRIDE)\n", seed, stride);
    for (unsigned operation = seed % stride;; operation += stride) {
      SCOPED_TRACE(
          absl::StrCat("operation ", operation, " fails", lasts ? " and all after it" : ""));
      if (!RunWithFault(static_cast<int>(operation), lasts)) break;
    }
    std::printf("%d faults, %d of them failed a step\n", faults_, failed_steps_);
    EXPECT_GT(failed_steps_, 0);
  }

  const StoreTrial trial_{kRestarts};
  int faults_ = 0;
  int failed_steps_ = 0;
};

TEST_P(DiskFaultTest, OneFaultFailsOneStepAndNothingOfItIsThere) { RunAll(false); }

TEST_P(DiskFaultTest, ADiskThatStaysBrokenIsSurvivedUntilItIsHealed) { RunAll(true); }

INSTANTIATE_TEST_SUITE_P(Kinds, DiskFaultTest,
                         testing::Values(Kind::kIoError, Kind::kNoSpace, Kind::kShortWrite),
                         [](const testing::TestParamInfo<Kind>& kind) {
                           switch (kind.param) {
                             case Kind::kIoError:
                               return "IoError";
                             case Kind::kNoSpace:
                               return "NoSpace";
                             case Kind::kShortWrite:
                               return "ShortWrite";
                           }
                           return "";
                         });

}  // namespace
}  // namespace amend
