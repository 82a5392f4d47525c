#include "storage/rocksdb_options.h"

#include "gtest/gtest.h"
#include "rocksdb/env.h"

namespace amend {
namespace {

TEST(RocksDbOptionsTest, WhatWouldLoseAcknowledgedWritesIsOff) {
  const rocksdb::DBOptions options = MakeDbOptions(nullptr);
  EXPECT_EQ(options.wal_bytes_per_sync, 0u);
  EXPECT_FALSE(options.manual_wal_flush);
  EXPECT_EQ(options.recycle_log_file_num, 0u);
  EXPECT_EQ(options.wal_recovery_mode, rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords);
  EXPECT_FALSE(options.avoid_flush_during_recovery);
  EXPECT_TRUE(options.atomic_flush);
  EXPECT_TRUE(options.paranoid_checks);
  EXPECT_TRUE(CheckedRead().verify_checksums);
}

TEST(RocksDbOptionsTest, NoFileSystemMeansTheRealOne) {
  EXPECT_EQ(MakeDbOptions(nullptr).env, rocksdb::Env::Default());
}

TEST(RocksDbOptionsTest, NothingIsCompressedAndOnlyFactorsHaveBlobFiles) {
  const auto cache = rocksdb::NewLRUCache(1 << 20);
  EXPECT_TRUE(MakeFamilyOptions(cache, true).enable_blob_files);
  EXPECT_FALSE(MakeFamilyOptions(cache, false).enable_blob_files);
  EXPECT_EQ(MakeFamilyOptions(cache, true).compression, rocksdb::kNoCompression);
}

}  // namespace
}  // namespace amend
