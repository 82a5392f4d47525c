#ifndef AMEND_STORAGE_ROCKSDB_VERIFICATION_H_
#define AMEND_STORAGE_ROCKSDB_VERIFICATION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/store_verification.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
}  // namespace rocksdb

namespace amend {

// Reads every record and every factor matrix of an open database, as they are at one moment, and
// checks each against its digest, each record for being one of its kind, and what records say of
// each other: revisions without gaps, the factors that a revision vouches for, labels on revisions
// that may serve, pending batches that are durable. Damage is no error: it is in the result, and
// the rest is read all the same. CANCELLED when the observer ends it. Writes may go on meanwhile.
// Thread-safe.
absl::StatusOr<StoreVerification> VerifyRocksDb(
    rocksdb::DB* db, const std::vector<rocksdb::ColumnFamilyHandle*>& families,
    const VerificationObserver& observer);

// The digest alone, which needs no factors: see StoreVerification. DATA_LOSS when a record is
// damaged.
absl::StatusOr<std::string> DigestOfRocksDb(
    rocksdb::DB* db, const std::vector<rocksdb::ColumnFamilyHandle*>& families);

}  // namespace amend

#endif  // AMEND_STORAGE_ROCKSDB_VERIFICATION_H_
