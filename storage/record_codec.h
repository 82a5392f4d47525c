#ifndef AMEND_STORAGE_RECORD_CODEC_H_
#define AMEND_STORAGE_RECORD_CODEC_H_

// Records to the bytes on disk and back; docs/storage_format.md is their document. Pure functions;
// thread-safe.
//
// Every value ends with the SHA-256 of its key and its payload, so that a flipped bit, or a value
// under the wrong key, is found wherever it happened. Decoders take any bytes and never crash: what
// Encode did not make for this key is DATA_LOSS, naming the key.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/matrix.h"
#include "core/base/types.h"
#include "storage/key_encoding.h"
#include "storage/records.h"
#include "storage/store_backups.h"

namespace amend {

// Where a value lies.
struct ValueAddress {
  absl::string_view column_family;
  absl::string_view key;
};

// `payload` with its digest behind it.
std::string SealValue(const ValueAddress& address, absl::string_view payload);
// The payload, a part of `value`. DATA_LOSS names the key, the expected and the found digest.
absl::StatusOr<absl::string_view> UnsealValue(const ValueAddress& address, absl::string_view value);
// The 32 bytes that end `payload` when it is sealed.
std::string ValueDigest(const ValueAddress& address, absl::string_view payload);
// The 32 bytes that end a sealed value.
std::string SealDigest(absl::string_view value);

// A blob that a revision record names.
struct BlobReference {
  LayerIndex layer;
  FactorPart part = FactorPart::kU;
  std::string digest;
  int64_t size = 0;
};

// A revision record with the factors that it vouches for.
struct StoredRevision {
  RevisionRecord record;
  bool has_factors = false;
  std::vector<BlobReference> blobs;
};

std::string EncodeIdentity(const ValueAddress& address, const StoreIdentity& identity);
absl::StatusOr<StoreIdentity> DecodeIdentity(const ValueAddress& address, absl::string_view value);

std::string EncodeCounter(const ValueAddress& address, int64_t counter);
absl::StatusOr<int64_t> DecodeCounter(const ValueAddress& address, absl::string_view value);

std::string EncodeLedgerEntry(const ValueAddress& address, const LedgerEntry& entry);
absl::StatusOr<LedgerEntry> DecodeLedgerEntry(const ValueAddress& address, absl::string_view value);

std::string EncodeRevision(const ValueAddress& address, const StoredRevision& revision);
absl::StatusOr<StoredRevision> DecodeRevision(const ValueAddress& address, absl::string_view value);

std::string EncodeLabel(const ValueAddress& address, const LabelRecord& label);
absl::StatusOr<LabelRecord> DecodeLabel(const ValueAddress& address, absl::string_view value);

std::string EncodeAudit(const ValueAddress& address, const AuditRecord& record);
absl::StatusOr<AuditRecord> DecodeAudit(const ValueAddress& address, absl::string_view value);

// The metadata of a backup: what BackupRecord says of the store in it. The rest is left as it is.
std::string EncodeBackup(const BackupRecord& record);
absl::StatusOr<BackupRecord> DecodeBackup(absl::string_view value);

// A factor blob: rows and cols (8 bytes each) and the float32 values row by row, little-endian.
std::string EncodeMatrix(const ValueAddress& address, const Matrix& matrix);
absl::StatusOr<Matrix> DecodeMatrix(const ValueAddress& address, absl::string_view value);

}  // namespace amend

#endif  // AMEND_STORAGE_RECORD_CODEC_H_
