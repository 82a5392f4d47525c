#ifndef AMEND_STORAGE_STORE_BACKUPS_H_
#define AMEND_STORAGE_STORE_BACKUPS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/types.h"

namespace amend {

// One backup: a store as it was at one moment.
struct BackupRecord {
  // Grows from 1. Given again only after the newest backup was deleted.
  int64_t number = 0;
  int64_t create_time_us = 0;
  Revision live;
  Revision latest;
  // sha-256 (hex) of the store's content: see StoreVerification.
  std::string store_digest;
  std::string model_fingerprint;
  std::string model_name;
  // Of its files, some of which other backups share.
  int64_t bytes = 0;
  // What is wrong with it as far as can be seen without reading its files; empty for nothing. Then
  // only `number` is sure.
  std::string damage;
};

// The backups of one store. Thread-safe.
class StoreBackups {
 public:
  virtual ~StoreBackups() = default;

  // Copies the store as it is at one moment, synced, and then deletes the oldest backups above the
  // number to keep. Takes as long as copying what no earlier backup has; writes to the store wait
  // for a small part of it only. Nothing is left of a backup that failed.
  virtual absl::StatusOr<BackupRecord> Create(int64_t create_time_us) = 0;
  // Newest first.
  virtual absl::StatusOr<std::vector<BackupRecord>> List() const = 0;
  // NOT_FOUND, naming the number.
  virtual absl::Status Delete(int64_t number) = 0;
};

}  // namespace amend

#endif  // AMEND_STORAGE_STORE_BACKUPS_H_
