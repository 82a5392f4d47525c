#ifndef AMEND_STORAGE_STORE_USAGE_H_
#define AMEND_STORAGE_STORE_USAGE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace amend {

// What a store takes, as far as its database knows. Plain data.
struct StoreUsage {
  struct Family {
    std::string name;
    // In table and blob files that are in use, and in memory.
    int64_t bytes = 0;
  };
  // The column families, in a fixed order.
  std::vector<Family> families;
  // How long writes were held up since the start because files could not be merged fast enough.
  double stall_seconds = 0;
  // They are held up now.
  bool writes_stopped = false;
};

}  // namespace amend

#endif  // AMEND_STORAGE_STORE_USAGE_H_
