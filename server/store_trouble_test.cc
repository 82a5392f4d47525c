// The edit path over the real store on a disk that breaks: edits are turned down and what serves
// goes on serving; when the disk works again, so does everything else, by itself.

#include <atomic>
#include <memory>

#include "core/base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/testing/edit_harness.h"
#include "server/testing/edit_server.h"
#include "storage/testing/simulated_disk.h"
#include "storage/testing/store_trial.h"

namespace amend {
namespace {

// Which operations fail, and how.
enum class Disk { kWorks, kFull, kBroken };

class StoreTroubleTest : public testing::TestWithParam<Disk> {
 protected:
  StoreTroubleTest() {
    machine_.disk->set_hook([this](const DiskOperation& operation) {
      if (disk_ == Disk::kWorks || !ChangesDisk(operation.kind)) return DiskFault();
      return disk_ == Disk::kFull ? NoSpaceFault() : IoErrorFault();
    });
    EXPECT_THAT(machine_.Start(), IsOk());
    Coordinator::Options options;
    options.store_retry_delay = absl::Milliseconds(1);
    coordinator_ = std::make_unique<Coordinator>(machine_.store.get(), &engine_, &serving_, &hub_,
                                                 &changes_, &observer_, std::move(options));
    intake_ = std::make_unique<EditIntake>(machine_.store.get(), CheckFakeEdits, &hub_,
                                           coordinator_.get(), &observer_, EditIntake::Options());
    EXPECT_THAT(coordinator_->Recover(), IsOk());
    coordinator_->Start();
    intake_->Start();
  }
  ~StoreTroubleTest() override {
    disk_ = Disk::kWorks;
    intake_->Stop();
    coordinator_->Stop();
  }

  v1::EditBatchStatus Run(int64_t offset, const std::string& target) {
    const auto recorder = Submit(offset, target);
    return recorder->Last();
  }
  std::shared_ptr<StatusRecorder> Submit(int64_t offset, const std::string& target) {
    auto recorder = std::make_shared<StatusRecorder>();
    BatchSubmission submission;
    submission.key = {"s", offset};
    submission.edits = {MakeEdit(target)};
    submission.listener = recorder->listener();
    EXPECT_THAT(intake_->Submit(std::move(submission)), IsOk());
    return recorder;
  }
  Revision Live() const { return (*serving_.Resolve(kLiveLabel))->revision; }

  std::atomic<Disk> disk_{Disk::kWorks};
  Machine machine_{std::make_shared<SimulatedDisk>()};
  FakeEditEngine engine_;
  EditEventHub hub_;
  RevisionEventHub changes_;
  EditObserver observer_;
  ServingModel serving_{nullptr, std::shared_ptr<const HookStack>()};
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<EditIntake> intake_;
};

TEST_P(StoreTroubleTest, EditsAreTurnedDownAndServingGoesOnUntilTheDiskWorksAgain) {
  ASSERT_EQ(Run(0, "Rome").stage(), v1::LIVE);
  disk_ = GetParam();
  for (int i = 0; i < 2; ++i) {
    const v1::EditBatchStatus refused = Run(1, "Paris");
    EXPECT_EQ(refused.error().code(), static_cast<int>(absl::StatusCode::kUnavailable));
    EXPECT_EQ(ReasonOfRpc(refused.error()), "STORE_READ_ONLY");
    EXPECT_THAT(refused.error().message(), testing::HasSubstr(kTrialPath));
  }
  EXPECT_EQ(Live(), Revision(1));
  EXPECT_TRUE(machine_.watch.read_only());

  disk_ = Disk::kWorks;
  // Nobody has to try a write for it.
  ASSERT_TRUE(machine_.watch.WaitUntilWritable());
  EXPECT_EQ(machine_.store->NextOffset("s").value_or(-1), 1);
  EXPECT_EQ(Run(1, "Paris").stage(), v1::LIVE);
  EXPECT_EQ(Live(), Revision(2));
}

TEST_P(StoreTroubleTest, ABatchThatIsDurableWaitsForTheDiskAndGoesLive) {
  ASSERT_EQ(Run(0, "Rome").stage(), v1::LIVE);
  engine_.on_gate = [this] { disk_ = GetParam(); };
  const auto recorder = Submit(1, "Paris");
  while (!coordinator_->store_read_only()) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(Live(), Revision(1));
  disk_ = Disk::kWorks;
  EXPECT_EQ(recorder->Last().stage(), v1::LIVE);
  EXPECT_EQ(Live(), Revision(2));
  const DiskPtr left = machine_.disk->AfterPowerCut();
  Machine after(left);
  ASSERT_THAT(after.Start(), IsOk());
  EXPECT_EQ(after.store->LatestRevision(), Revision(2));
  EXPECT_EQ(after.store->GetLabel(kLiveLabel)->revision, Revision(2));
}

INSTANTIATE_TEST_SUITE_P(Disks, StoreTroubleTest, testing::Values(Disk::kFull, Disk::kBroken),
                         [](const testing::TestParamInfo<Disk>& disk) {
                           return disk.param == Disk::kFull ? "Full" : "Broken";
                         });

}  // namespace
}  // namespace amend
