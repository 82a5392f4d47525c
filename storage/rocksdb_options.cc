#include "storage/rocksdb_options.h"

#include <cstdint>

#include "rocksdb/table.h"

namespace amend {
namespace {

constexpr uint64_t kMinBlobBytes = 16 << 10;
// What a start reads back from the log at most, roughly.
constexpr uint64_t kMaxWalBytes = 64 << 20;
constexpr size_t kMaxInfoLogBytes = 1 << 20;

}  // namespace

rocksdb::DBOptions MakeDbOptions(rocksdb::Env* env) {
  rocksdb::DBOptions options;
  if (env != nullptr) options.env = env;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.paranoid_checks = true;
  // A record that was not acknowledged may end in the middle of the log's last bytes; any other
  // damage is an error. The default would drop everything behind it, acknowledged or not.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  // A start writes what it finds in the log to tables, synced, before anybody is answered from it:
  // the kernel may show bytes that it failed to sync, and forget them later.
  options.avoid_flush_during_recovery = false;
  // All families go to tables together, so that there is one log with all that is in none of them.
  // Of two logs the older one could lose its end, and what is in the newer one be served without
  // it.
  options.atomic_flush = true;
  options.max_total_wal_size = kMaxWalBytes;
  options.skip_stats_update_on_db_open = true;
  options.keep_log_file_num = 2;
  options.max_log_file_size = kMaxInfoLogBytes;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  // SyncedDb::Recover is the only way out of an error.
  options.max_bgerror_resume_count = 0;
  return options;
}

rocksdb::ColumnFamilyOptions MakeFamilyOptions(const std::shared_ptr<rocksdb::Cache>& cache,
                                               bool blobs) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.checksum = rocksdb::kXXH3;
  rocksdb::ColumnFamilyOptions options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.compression = rocksdb::kNoCompression;
  options.force_consistency_checks = true;
  options.enable_blob_files = blobs;
  options.min_blob_size = kMinBlobBytes;
  return options;
}

rocksdb::ReadOptions CheckedRead() {
  rocksdb::ReadOptions options;
  options.verify_checksums = true;
  return options;
}

}  // namespace amend
