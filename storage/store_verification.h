#ifndef AMEND_STORAGE_STORE_VERIFICATION_H_
#define AMEND_STORAGE_STORE_VERIFICATION_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/base/types.h"

namespace amend {

// Something that is not what was written, or is missing.
struct StoreDamage {
  // Column family and key ("factors/3/0/U"), or what could not be read at all.
  std::string key;
  // sha-256 (hex) that the value should have and the one that it has; both empty where no value
  // could be read.
  std::string expected_digest;
  std::string found_digest;
  std::string description;
};

// Damages that a verification describes; it counts all of them.
inline constexpr size_t kMaxDamagesDescribed = 1000;

// What reading a whole store brought to light.
struct StoreVerification {
  int64_t records = 0;
  // Factor matrices, and the bytes of all values.
  int64_t blobs = 0;
  int64_t bytes = 0;
  Revision live;
  Revision latest;
  // sha-256 (hex) over the digests of all records: the same for the same content (see
  // docs/storage_format.md).
  std::string digest;
  int64_t damage_count = 0;
  // At most kMaxDamagesDescribed.
  std::vector<StoreDamage> damages;
};

// Told now and then how far a verification is; false ends it with CANCELLED. May be null.
using VerificationObserver = std::function<bool(const StoreVerification& so_far)>;

}  // namespace amend

#endif  // AMEND_STORAGE_STORE_VERIFICATION_H_
