#ifndef AMEND_STORAGE_TESTING_STORE_BACKUPS_CONFORMANCE_H_
#define AMEND_STORAGE_TESTING_STORE_BACKUPS_CONFORMANCE_H_

// What every StoreBackups must do. An implementation's test includes this and says
//   INSTANTIATE_TEST_SUITE_P(InMemory, StoreBackupsConformance, testing::Values(MakeHarness));

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/revision_store.h"
#include "storage/store_backups.h"
#include "storage/testing/random_records.h"

namespace amend {

// Holds a store with an identity and its backups, of which kBackupsKept stay. Not thread-safe.
class BackupsHarness {
 public:
  virtual ~BackupsHarness() = default;
  virtual RevisionStore& store() = 0;
  virtual StoreBackups& backups() = 0;
};
inline constexpr int kBackupsKept = 3;

using BackupsHarnessFactory = std::function<std::unique_ptr<BackupsHarness>()>;

class StoreBackupsConformance : public testing::TestWithParam<BackupsHarnessFactory> {
 protected:
  RevisionStore& store() { return harness_->store(); }
  StoreBackups& backups() { return harness_->backups(); }

  // One more revision, live.
  void AddRevision() {
    StoreStep step;
    const Revision latest = store().LatestRevision();
    step.revision = random_.Record(latest.Next(), latest, RevisionState::kValidated);
    step.factors = random_.Factors();
    step.label = LabelMove{"live", latest.Next(), std::nullopt};
    ASSERT_THAT(store().Commit(step), IsOk());
  }
  std::vector<int64_t> Numbers() {
    std::vector<int64_t> numbers;
    const absl::StatusOr<std::vector<BackupRecord>> records = backups().List();
    EXPECT_THAT(records, IsOk());
    for (const BackupRecord& record : records.value()) numbers.push_back(record.number);
    return numbers;
  }

  std::unique_ptr<BackupsHarness> harness_ = GetParam()();
  RandomRecords random_{20240301};
};

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoreBackupsConformance);

TEST_P(StoreBackupsConformance, ANewDirectoryHasNone) {
  EXPECT_THAT(Numbers(), testing::IsEmpty());
}

TEST_P(StoreBackupsConformance, ABackupSaysWhatTheStoreWas) {
  AddRevision();
  AddRevision();
  StoreStep back;
  back.label = LabelMove{"live", Revision(1), std::nullopt};
  ASSERT_THAT(store().Commit(back), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const BackupRecord made, backups().Create(1234567));
  AddRevision();
  AMEND_ASSERT_OK_AND_ASSIGN(const auto listed, backups().List());
  ASSERT_EQ(listed.size(), 1u);
  for (const BackupRecord& record : {made, listed[0]}) {
    EXPECT_EQ(record.number, 1);
    EXPECT_EQ(record.create_time_us, 1234567);
    EXPECT_EQ(record.live, Revision(1));
    EXPECT_EQ(record.latest, Revision(2));
    EXPECT_EQ(record.model_fingerprint, store().identity()->model_fingerprint);
    EXPECT_EQ(record.model_name, store().identity()->model_name);
    EXPECT_EQ(record.damage, "");
    EXPECT_GT(record.bytes, 0);
  }
}

TEST_P(StoreBackupsConformance, ItsDigestIsThatOfTheStore) {
  AddRevision();
  AMEND_ASSERT_OK_AND_ASSIGN(const StoreVerification verified, store().Verify(nullptr));
  AMEND_ASSERT_OK_AND_ASSIGN(const BackupRecord first, backups().Create(1));
  AMEND_ASSERT_OK_AND_ASSIGN(const BackupRecord same, backups().Create(2));
  AddRevision();
  AMEND_ASSERT_OK_AND_ASSIGN(const BackupRecord other, backups().Create(3));
  EXPECT_EQ(first.store_digest, verified.digest);
  EXPECT_EQ(same.store_digest, verified.digest);
  EXPECT_NE(other.store_digest, verified.digest);
}

TEST_P(StoreBackupsConformance, TheOldestGoOnceThereAreEnough) {
  for (int i = 0; i < kBackupsKept + 2; ++i) {
    AddRevision();
    ASSERT_THAT(backups().Create(i), IsOk());
  }
  EXPECT_THAT(Numbers(), testing::ElementsAre(5, 4, 3));
}

TEST_P(StoreBackupsConformance, DeleteTakesTheOneThatIsNamed) {
  ASSERT_THAT(backups().Create(1), IsOk());
  ASSERT_THAT(backups().Create(2), IsOk());
  ASSERT_THAT(backups().Delete(1), IsOk());
  EXPECT_THAT(Numbers(), testing::ElementsAre(2));
  for (const int64_t number : {int64_t{1}, int64_t{0}, int64_t{-1}, int64_t{1} << 33}) {
    EXPECT_THAT(backups().Delete(number),
                StatusIs(absl::StatusCode::kNotFound, testing::HasSubstr(std::to_string(number))));
  }
  EXPECT_THAT(Numbers(), testing::ElementsAre(2));
}

}  // namespace amend

#endif  // AMEND_STORAGE_TESTING_STORE_BACKUPS_CONFORMANCE_H_
