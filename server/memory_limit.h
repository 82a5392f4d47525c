#ifndef AMEND_SERVER_MEMORY_LIMIT_H_
#define AMEND_SERVER_MEMORY_LIMIT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace amend {

// How much memory this process may have, and what says so. Plain data.
struct MemoryLimit {
  int64_t bytes = 0;
  // "memory.max of its cgroup", "the machine's memory", ...
  std::string source;
};

// The smallest of the machine's memory, the limits of the process's cgroup and of those above it
// (v2 and v1), RLIMIT_AS and RLIMIT_DATA. `root` stands before /proc and /sys; empty but in tests.
MemoryLimit ReadMemoryLimit(const std::string& root = "");

// RESOURCE_EXHAUSTED, naming all four numbers, where weights and KV cache together pass the limit.
absl::Status CheckMemory(int64_t weight_bytes, int64_t kv_cache_bytes, const MemoryLimit& limit);

// RESOURCE_EXHAUSTED, naming both, where the KV cache has no room for one block.
absl::Status CheckKvCache(int64_t kv_cache_bytes, int64_t block_bytes);

}  // namespace amend

#endif  // AMEND_SERVER_MEMORY_LIMIT_H_
