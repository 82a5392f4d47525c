#ifndef AMEND_STORAGE_KEY_ENCODING_H_
#define AMEND_STORAGE_KEY_ENCODING_H_

// The bytes of RocksDB keys; docs/storage_format.md is their document. Pure functions; thread-safe.
//
// Integers are big-endian and not negative, so that byte order is number order. A session name may
// hold any bytes: 0x00 becomes 0x00 0xff and 0x00 0x01 ends it. Thus no session's prefix is a
// prefix of another session's key, and sessions are in byte order of their names.

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/types.h"
#include "storage/records.h"

namespace amend {

// Which matrix of a layer a blob holds. Values are written to disk: never renumber.
enum class FactorPart : uint8_t { kU = 1, kV = 2, kKeys = 3, kActivations = 4 };

struct FactorKey {
  Revision revision;
  LayerIndex layer;
  FactorPart part = FactorPart::kU;
};

// 8 bytes. A number for revisions, the audit trail and pending batches.
std::string EncodeNumberKey(int64_t number);
// DATA_LOSS, naming the bytes, for what EncodeNumberKey does not make; so do the other decoders.
absl::StatusOr<int64_t> DecodeNumberKey(absl::string_view key);

// Starts the keys of all batches of `session` and of no other.
std::string EncodeSessionPrefix(absl::string_view session);
std::string EncodeLedgerKey(const BatchKey& key);
absl::StatusOr<BatchKey> DecodeLedgerKey(absl::string_view key);

// 13 bytes: revision, layer, part.
std::string EncodeFactorKey(const FactorKey& key);
absl::StatusOr<FactorKey> DecodeFactorKey(absl::string_view key);

// For messages: the column family and the key, with what is not printable in hex.
std::string KeyName(absl::string_view column_family, absl::string_view key);

}  // namespace amend

#endif  // AMEND_STORAGE_KEY_ENCODING_H_
