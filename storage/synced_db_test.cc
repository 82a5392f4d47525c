#include "storage/synced_db.h"

#include <atomic>
#include <memory>
#include <string>

#include "core/base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "storage/testing/simulated_disk.h"
#include "storage/testing/store_trial.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

class SyncedDbTest : public testing::Test {
 protected:
  SyncedDbTest() {
    disk_->set_hook([this](const DiskOperation& operation) {
      return fails_ && operation.kind == DiskOperationKind::kSync ? IoErrorFault() : DiskFault();
    });
  }
  static std::unique_ptr<SyncedDb> Open(rocksdb::Env* env, StoreObserver* observer) {
    SyncedDb::Options options;
    options.path = kTrialPath;
    options.families = {{"a", false}, {"b", true}};
    options.observer = observer;
    options.env = env;
    auto db = SyncedDb::Open(options);
    EXPECT_THAT(db, IsOk());
    return db.ok() ? *std::move(db) : nullptr;
  }
  // "" for no value.
  static std::string Get(const SyncedDb& db, int family, const std::string& key) {
    const auto opened = db.Acquire();
    EXPECT_THAT(opened, IsOk());
    std::string value;
    (*opened)->db->Get(rocksdb::ReadOptions(), (*opened)->handles[family], key, &value);
    return value;
  }
  absl::Status Put(const std::string& key, const std::string& value) {
    rocksdb::WriteBatch batch;
    {
      const auto opened = db_->Acquire();
      batch.Put((*opened)->handles[0], key, value);
      batch.Put((*opened)->handles[1], key, value);
    }
    return db_->Write("write " + key, &batch);
  }

  std::atomic<bool> fails_{false};
  const DiskPtr disk_ = std::make_shared<SimulatedDisk>();
  const std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(disk_);
  ReadOnlyWatch watch_;
  std::unique_ptr<SyncedDb> db_ = Open(env_.get(), &watch_);
};

TEST_F(SyncedDbTest, WhatWasWrittenSurvivesAPowerCutTheDirectoryIncluded) {
  ASSERT_THAT(Put("k", "v"), IsOk());
  const DiskPtr left = disk_->AfterPowerCut();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(left);
  const auto after = Open(env.get(), nullptr);
  EXPECT_EQ(Get(*after, 0, "k"), "v");
  EXPECT_EQ(Get(*after, 1, "k"), "v");
}

TEST_F(SyncedDbTest, AFailedWriteStopsAllWritesAndNotReads) {
  ASSERT_THAT(Put("k", "v"), IsOk());
  fails_ = true;
  EXPECT_THAT(Put("k", "w"), StatusIs(StatusCode::kUnavailable,
                                      AllOf(HasSubstr("write k"), HasSubstr(kTrialPath))));
  EXPECT_TRUE(watch_.read_only());
  EXPECT_THAT(Put("l", "w"), StatusIs(StatusCode::kUnavailable, HasSubstr("read-only since")));
  EXPECT_THAT(db_->Recover(), StatusIs(StatusCode::kUnavailable));
  EXPECT_EQ(Get(*db_, 0, "k"), "v");
  EXPECT_EQ(Get(*db_, 1, "l"), "");
}

TEST_F(SyncedDbTest, RecoverUndoesTheFailedWriteAndTakesWritesAgain) {
  ASSERT_THAT(Put("k", "v"), IsOk());
  fails_ = true;
  rocksdb::WriteBatch batch;
  {
    const auto opened = db_->Acquire();
    batch.Put((*opened)->handles[0], "k", "w");
    batch.Delete((*opened)->handles[1], "k");
    batch.Put((*opened)->handles[0], "new", "w");
  }
  EXPECT_FALSE(db_->Write("write k", &batch).ok());
  fails_ = false;
  ASSERT_THAT(db_->Recover(), IsOk());
  EXPECT_FALSE(watch_.read_only());
  EXPECT_EQ(Get(*db_, 0, "k"), "v");
  EXPECT_EQ(Get(*db_, 1, "k"), "v");
  EXPECT_EQ(Get(*db_, 0, "new"), "");
  EXPECT_THAT(Put("k", "x"), IsOk());
  EXPECT_EQ(Get(*db_, 0, "k"), "x");
}

TEST_F(SyncedDbTest, UsageHasTheBytesOfEachFamilyAlsoAfterRecover) {
  const auto bytes = [](const SyncedDb& db) {
    const StoreUsage usage = db.Usage();
    EXPECT_EQ(usage.families.size(), 2);
    EXPECT_EQ(usage.families[0].name, "a");
    EXPECT_EQ(usage.families[1].name, "b");
    EXPECT_FALSE(usage.writes_stopped);
    EXPECT_EQ(usage.stall_seconds, 0);
    return std::make_pair(usage.families[0].bytes, usage.families[1].bytes);
  };
  const auto before = bytes(*db_);
  ASSERT_THAT(Put("k", std::string(50000, 'x')), IsOk());
  const auto after = bytes(*db_);
  EXPECT_GE(after.first, before.first + 50000);
  EXPECT_GE(after.second, before.second + 50000);
  fails_ = true;
  EXPECT_FALSE(Put("l", "v").ok());
  fails_ = false;
  ASSERT_THAT(db_->Recover(), IsOk());
  EXPECT_GE(bytes(*db_).first, 50000);
  EXPECT_GE(bytes(*db_).second, 50000);
}

TEST_F(SyncedDbTest, RecoverWithoutTroubleDoesNothing) {
  const auto before = *db_->Acquire();
  EXPECT_THAT(db_->Recover(), IsOk());
  EXPECT_EQ(*db_->Acquire(), before);
}

TEST_F(SyncedDbTest, AFlushThatFailsIsTold) {
  struct Observer : StoreObserver {
    void OnSync(double /*seconds*/, bool /*ok*/) override {}
    void OnBackgroundError() override { ++errors; }
    int errors = 0;
  } observer;
  const DiskPtr disk = std::make_shared<SimulatedDisk>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
  const auto db = Open(env.get(), &observer);
  rocksdb::WriteBatch batch;
  {
    const auto opened = db->Acquire();
    batch.Put((*opened)->handles[0], "k", "v");
    ASSERT_THAT(db->Write("write k", &batch), IsOk());
    disk->set_hook([](const DiskOperation& operation) {
      return operation.kind == DiskOperationKind::kSync ? IoErrorFault() : DiskFault();
    });
    EXPECT_FALSE((*opened)->db->Flush(rocksdb::FlushOptions(), (*opened)->handles[0]).ok());
  }
  disk->set_hook(nullptr);
  EXPECT_THAT(db->Recover(), IsOk());
  EXPECT_EQ(observer.errors, 1);
}

TEST_F(SyncedDbTest, AFrozenOneTakesNoWritesEvenAfterRecover) {
  db_->Freeze(absl::UnavailableError("because"));
  EXPECT_TRUE(watch_.read_only());
  EXPECT_THAT(Put("k", "v"), StatusIs(StatusCode::kUnavailable, HasSubstr("because")));
  EXPECT_THAT(db_->Recover(), IsOk());
  EXPECT_THAT(Put("k", "v"), StatusIs(StatusCode::kUnavailable, HasSubstr("because")));
}

}  // namespace
}  // namespace amend
