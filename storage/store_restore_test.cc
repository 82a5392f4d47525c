#include "storage/store_restore.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/utilities/backup_engine.h"
#include "storage/key_encoding.h"
#include "storage/record_codec.h"
#include "storage/rocksdb_backups.h"
#include "storage/rocksdb_revision_store.h"
#include "storage/testing/store_files.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

// A store with three revisions, backed up after the first and the second.
class StoreRestoreTest : public testing::Test {
 protected:
  StoreRestoreTest() {
    auto opened = RocksDbRevisionStore::Open({path_ + "/data/store"});
    EXPECT_THAT(opened, IsOk());
    store_ = *std::move(opened);
    EXPECT_THAT(store_->Initialize({"abc", "demo", "", {}, ""}), IsOk());
    auto backups = RocksDbBackups::Open({backups_, 5, store_.get()});
    EXPECT_THAT(backups, IsOk());
    for (int64_t i = 1; i <= 3; ++i) {
      AddRevision(i);
      if (i < 3) {
        EXPECT_THAT((*backups)->Create(i), IsOk());
      }
    }
  }
  ~StoreRestoreTest() override {
    store_.reset();
    fs::remove_all(path_);
  }

  void AddRevision(int64_t number) {
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = Revision(number);
    step.revision->state = RevisionState::kValidated;
    step.factors.emplace();
    const Matrix large{1, 6000, std::vector<float>(6000, static_cast<float>(number))};
    step.factors->layers.push_back({LayerIndex(3), {1, 2, {1, 2}}, large, large, {1}});
    step.label = LabelMove{"live", Revision(number), std::nullopt};
    EXPECT_THAT(store_->Commit(step), IsOk());
  }
  absl::StatusOr<RestoreReport> Restore(int64_t number = 0) {
    return RestoreBackup({backups_, number, target_}, nullptr);
  }
  std::vector<std::string> NamesIn(const std::string& path) {
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(path)) names.push_back(file.path().filename());
    return names;
  }
  // Files of the backups that hold the store, but the list of files.
  std::vector<std::string> BackupFiles() {
    std::vector<std::string> files;
    for (const auto& file : fs::recursive_directory_iterator(backups_)) {
      const bool list = file.path().parent_path().filename() == "meta";
      if (file.is_regular_file() && !list && file.file_size() > 0) files.push_back(file.path());
    }
    return files;
  }

  const std::string path_ = NewTestDirectory();
  const std::string backups_ = path_ + "/backups";
  const std::string target_ = path_ + "/new/restored";
  std::unique_ptr<RocksDbRevisionStore> store_;
};

TEST_F(StoreRestoreTest, ABackupBecomesTheStoreThatItWas) {
  for (const int64_t number : {1, 2}) {
    SCOPED_TRACE(number);
    AMEND_ASSERT_OK_AND_ASSIGN(const RestoreReport report, Restore(number));
    EXPECT_EQ(report.backup.number, number);
    EXPECT_EQ(report.verification.damage_count, 0);
    {
      AMEND_ASSERT_OK_AND_ASSIGN(const auto store,
                                 RocksDbRevisionStore::Open({target_ + "/store"}));
      EXPECT_EQ(store->LatestRevision(), Revision(number));
      EXPECT_EQ(store->GetLabel("live")->revision, Revision(number));
      AMEND_ASSERT_OK_AND_ASSIGN(const RevisionFactors factors, store->ReadFactors(Revision(1)));
      EXPECT_TRUE(factors == *store_->ReadFactors(Revision(1)));
      EXPECT_TRUE(store->identity() == store_->identity());
    }
    EXPECT_THAT(NamesIn(path_ + "/new"), testing::ElementsAre("restored"));
    fs::remove_all(target_);
  }
}

TEST_F(StoreRestoreTest, WithoutANumberItIsTheNewest) {
  fs::create_directories(target_);  // Empty: that is allowed.
  AMEND_ASSERT_OK_AND_ASSIGN(const RestoreReport report, Restore());
  EXPECT_EQ(report.backup.number, 2);
}

TEST_F(StoreRestoreTest, ARestoredStoreGoesOn) {
  ASSERT_THAT(Restore(), IsOk());
  store_.reset();
  auto reopened = RocksDbRevisionStore::Open({target_ + "/store"});
  ASSERT_THAT(reopened, IsOk());
  store_ = *std::move(reopened);
  AddRevision(3);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto backups, RocksDbBackups::Open({backups_, 5, store_.get()}));
  AMEND_ASSERT_OK_AND_ASSIGN(const BackupRecord third, backups->Create(3));
  EXPECT_EQ(third.number, 3);
  fs::remove_all(path_ + "/again");
  ASSERT_THAT(RestoreBackup({backups_, 3, path_ + "/again"}, nullptr), IsOk());
}

TEST_F(StoreRestoreTest, ATargetThatIsNotEmptyIsRefusedAndLeftAlone) {
  fs::create_directories(target_);
  std::ofstream(target_ + "/file") << "mine";
  EXPECT_THAT(Restore(), StatusIs(StatusCode::kFailedPrecondition,
                                  AllOf(HasSubstr(target_), HasSubstr("not empty"))));
  EXPECT_THAT(NamesIn(target_), testing::ElementsAre("file"));
  EXPECT_THAT(RestoreBackup({backups_, 0, target_ + "/file"}, nullptr),
              StatusIs(StatusCode::kFailedPrecondition));
}

TEST_F(StoreRestoreTest, WhatIsNotThereIsNotFound) {
  EXPECT_THAT(Restore(7), StatusIs(StatusCode::kNotFound, HasSubstr("backup 7")));
  EXPECT_THAT(RestoreBackup({path_ + "/none", 0, target_}, nullptr),
              StatusIs(StatusCode::kNotFound, HasSubstr(path_ + "/none")));
  EXPECT_FALSE(fs::exists(target_));
}

TEST_F(StoreRestoreTest, AFlippedBitInAnyFileIsRefusedNamingTheBackup) {
  int files = 0;
  for (const std::string& file : BackupFiles()) {
    SCOPED_TRACE(file);
    const uint64_t bit = 8 * fs::file_size(file) / 2;
    FlipBit(file, bit);
    int damaged = 0;
    for (const int64_t number : {1, 2}) {
      const auto restored = Restore(number);
      if (restored.ok()) {
        fs::remove_all(target_);
        continue;  // A file of the other backup.
      }
      ++damaged;
      EXPECT_THAT(restored, StatusIs(StatusCode::kDataLoss,
                                     AllOf(HasSubstr("backup " + std::to_string(number)),
                                           HasSubstr("damaged"))));
      EXPECT_FALSE(fs::exists(target_));
      EXPECT_THAT(NamesIn(path_ + "/new"), IsEmpty());
    }
    EXPECT_GE(damaged, 1);
    FlipBit(file, bit);
    ++files;
  }
  EXPECT_GE(files, 6);
  EXPECT_THAT(Restore(), IsOk());
}

TEST_F(StoreRestoreTest, AMissingFileIsRefusedNamingTheBackup) {
  for (const std::string& file : BackupFiles()) {
    if (file.find(".sst") != std::string::npos) fs::remove(file);
  }
  EXPECT_THAT(Restore(2), StatusIs(StatusCode::kDataLoss, HasSubstr("backup 2")));
}

// The checksums of the files say nothing of this: the digest of the store does.
TEST_F(StoreRestoreTest, ABackupOfADamagedStoreIsRefused) {
  store_.reset();
  DeleteRaw(path_ + "/data/store", "factors",
            EncodeFactorKey({Revision(2), LayerIndex(3), FactorPart::kU}));
  AMEND_ASSERT_OK_AND_ASSIGN(store_, RocksDbRevisionStore::Open({path_ + "/data/store"}));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto backups, RocksDbBackups::Open({backups_, 5, store_.get()}));
  ASSERT_THAT(backups->Create(3), IsOk());
  EXPECT_THAT(Restore(3),
              StatusIs(StatusCode::kDataLoss, AllOf(HasSubstr("backup 3"), HasSubstr("factors"))));
}

// Nor of this: files that are whole, of another moment than the backup says.
TEST_F(StoreRestoreTest, ABackupThatIsNotTheStoreItSaysIsRefused) {
  BackupRecord record = BackupsIn(backups_)->at(0);
  rocksdb::BackupEngine* raw = nullptr;
  ASSERT_TRUE(rocksdb::BackupEngine::Open(rocksdb::BackupEngineOptions(backups_),
                                          rocksdb::Env::Default(), &raw)
                  .ok());
  const std::unique_ptr<rocksdb::BackupEngine> engine(raw);
  // The store has gone on since.
  const std::string metadata = EncodeBackup(record);
  ASSERT_TRUE(
      engine->CreateNewBackupWithMetadata({}, (*store_->Acquire())->db.get(), metadata, nullptr)
          .ok());
  EXPECT_THAT(Restore(3), StatusIs(StatusCode::kDataLoss,
                                   AllOf(HasSubstr("backup 3"), HasSubstr(record.store_digest))));
  EXPECT_FALSE(fs::exists(target_));
}

TEST_F(StoreRestoreTest, BackupsAreListedWithoutAServer) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto records, BackupsIn(backups_));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].number, 2);
  EXPECT_EQ(records[1].live, Revision(1));
}

TEST_F(StoreRestoreTest, AStoreInUseOrMissingIsNotVerified) {
  EXPECT_THAT(VerifyStoreIn(path_ + "/data", nullptr),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("in use")));
  EXPECT_THAT(VerifyStoreIn(path_ + "/new", nullptr), StatusIs(StatusCode::kNotFound));
}

TEST_F(StoreRestoreTest, VerifyingChangesNoFile) {
  store_.reset();
  const auto files = [&] {
    std::vector<std::string> out;
    for (const auto& file : fs::directory_iterator(path_ + "/data/store")) {
      out.push_back(file.path().string() + " " + std::to_string(file.file_size()));
    }
    std::sort(out.begin(), out.end());
    return out;
  };
  const auto before = files();
  ASSERT_THAT(VerifyStoreIn(path_ + "/data", nullptr), IsOk());
  EXPECT_EQ(files(), before);
}

}  // namespace
}  // namespace amend
