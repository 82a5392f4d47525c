#ifndef AMEND_STORAGE_ROCKSDB_OPTIONS_H_
#define AMEND_STORAGE_ROCKSDB_OPTIONS_H_

#include <memory>

#include "absl/strings/string_view.h"
#include "rocksdb/cache.h"
#include "rocksdb/options.h"
#include "rocksdb/slice.h"

// How a store's RocksDB is opened, by whom ever. Pure functions; thread-safe.

namespace amend {

inline rocksdb::Slice ToSlice(absl::string_view bytes) {
  return rocksdb::Slice(bytes.data(), bytes.size());
}
inline absl::string_view ToView(const rocksdb::Slice& slice) {
  return absl::string_view(slice.data(), slice.size());
}

// `env`: the file system; null is the real one.
rocksdb::DBOptions MakeDbOptions(rocksdb::Env* env);
// `blobs`: large values go into blob files.
rocksdb::ColumnFamilyOptions MakeFamilyOptions(const std::shared_ptr<rocksdb::Cache>& cache,
                                               bool blobs);
// Checks the checksum of every block.
rocksdb::ReadOptions CheckedRead();

}  // namespace amend

#endif  // AMEND_STORAGE_ROCKSDB_OPTIONS_H_
