#include "storage/key_encoding.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace amend {
namespace {

constexpr char kEscape = '\x00';
constexpr char kEscapedZero = '\xff';
constexpr char kEnd = '\x01';

void AppendBigEndian(uint64_t value, int bytes, std::string* out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>((value >> shift) & 0xff));
  }
}

uint64_t ReadBigEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char byte : bytes) value = (value << 8) | static_cast<uint8_t>(byte);
  return value;
}

absl::Status BadKey(absl::string_view kind, absl::string_view key) {
  return absl::DataLossError(absl::StrCat("not a ", kind, " key: 0x", absl::BytesToHexString(key)));
}

}  // namespace

std::string EncodeNumberKey(int64_t number) {
  std::string key;
  AppendBigEndian(static_cast<uint64_t>(number), 8, &key);
  return key;
}

absl::StatusOr<int64_t> DecodeNumberKey(absl::string_view key) {
  const auto number = static_cast<int64_t>(ReadBigEndian(key));
  if (key.size() != 8 || number < 0) return BadKey("number", key);
  return number;
}

std::string EncodeSessionPrefix(absl::string_view session) {
  std::string prefix;
  for (const char byte : session) {
    prefix.push_back(byte);
    if (byte == kEscape) prefix.push_back(kEscapedZero);
  }
  prefix.push_back(kEscape);
  prefix.push_back(kEnd);
  return prefix;
}

std::string EncodeLedgerKey(const BatchKey& key) {
  return absl::StrCat(EncodeSessionPrefix(key.session), EncodeNumberKey(key.offset));
}

absl::StatusOr<BatchKey> DecodeLedgerKey(absl::string_view key) {
  BatchKey result;
  size_t i = 0;
  while (i < key.size()) {
    if (key[i] != kEscape) {
      result.session.push_back(key[i++]);
    } else if (i + 1 < key.size() && key[i + 1] == kEscapedZero) {
      result.session.push_back(kEscape);
      i += 2;
    } else {
      break;
    }
  }
  if (i + 1 >= key.size() || key[i + 1] != kEnd) return BadKey("ledger", key);
  const absl::StatusOr<int64_t> offset = DecodeNumberKey(key.substr(i + 2));
  if (!offset.ok()) return BadKey("ledger", key);
  result.offset = *offset;
  return result;
}

std::string EncodeFactorKey(const FactorKey& key) {
  std::string bytes = EncodeNumberKey(key.revision.value());
  AppendBigEndian(static_cast<uint32_t>(key.layer.value()), 4, &bytes);
  bytes.push_back(static_cast<char>(key.part));
  return bytes;
}

absl::StatusOr<FactorKey> DecodeFactorKey(absl::string_view key) {
  if (key.size() != 13) return BadKey("factor", key);
  const auto revision = static_cast<int64_t>(ReadBigEndian(key.substr(0, 8)));
  const auto layer = static_cast<int32_t>(ReadBigEndian(key.substr(8, 4)));
  const auto part = static_cast<uint8_t>(key[12]);
  if (revision < 0 || layer < 0 || part < 1 || part > 4) return BadKey("factor", key);
  return FactorKey{Revision(revision), LayerIndex(layer), static_cast<FactorPart>(part)};
}

std::string KeyName(absl::string_view column_family, absl::string_view key) {
  const bool printable = std::all_of(key.begin(), key.end(), absl::ascii_isprint);
  if (printable) return absl::StrCat(column_family, "/", key);
  if (column_family == "ledger") {
    const absl::StatusOr<BatchKey> batch = DecodeLedgerKey(key);
    if (batch.ok()) {
      return absl::StrCat("ledger/\"", absl::CHexEscape(batch->session), "\"/", batch->offset);
    }
  }
  if (column_family == "factors") {
    const absl::StatusOr<FactorKey> factor = DecodeFactorKey(key);
    constexpr const char* kParts[] = {"", "U", "V", "K", "activations"};
    if (factor.ok()) {
      return absl::StrCat("factors/", factor->revision.value(), "/", factor->layer.value(), "/",
                          kParts[static_cast<int>(factor->part)]);
    }
  }
  const absl::StatusOr<int64_t> number = DecodeNumberKey(key);
  if (number.ok()) return absl::StrCat(column_family, "/", *number);
  return absl::StrCat(column_family, "/0x", absl::BytesToHexString(key));
}

}  // namespace amend
