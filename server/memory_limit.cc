#include "server/memory_limit.h"

#include <sys/resource.h>

#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace amend {
namespace {

std::string Mib(int64_t bytes) { return absl::StrCat(bytes >> 20, " MiB"); }

void Lower(int64_t bytes, absl::string_view source, MemoryLimit* limit) {
  if (bytes <= 0 || bytes >= limit->bytes) return;
  limit->bytes = bytes;
  limit->source = std::string(source);
}

// The number in the file's first line; 0 where there is none ("max", no such file).
int64_t NumberIn(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  int64_t number = 0;
  if (!std::getline(file, line) || !absl::SimpleAtoi(line, &number)) return 0;
  return number;
}

// The file `name` of a cgroup and of every one above it, below `mount`.
void LowerByCgroup(const std::string& mount, std::string path, absl::string_view name,
                   MemoryLimit* limit) {
  while (true) {
    Lower(NumberIn(absl::StrCat(mount, path, "/", name)),
          absl::StrCat(name, " of the cgroup ", path.empty() ? "/" : path), limit);
    if (path.empty()) return;
    path.resize(path.rfind('/'));
  }
}

void LowerByCgroups(const std::string& root, MemoryLimit* limit) {
  // "0::/path" of v2, "4:memory:/path" of v1.
  std::ifstream file(absl::StrCat(root, "/proc/self/cgroup"));
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3 || parts[2].empty() || parts[2].front() != '/') continue;
    const std::string path = parts[2] == "/" ? "" : parts[2];
    if (parts[1].empty()) {
      LowerByCgroup(absl::StrCat(root, "/sys/fs/cgroup"), path, "memory.max", limit);
    } else if (parts[1] == "memory") {
      LowerByCgroup(absl::StrCat(root, "/sys/fs/cgroup/memory"), path, "memory.limit_in_bytes",
                    limit);
    }
  }
}

void LowerByMachine(const std::string& root, MemoryLimit* limit) {
  // "MemTotal:       24689764 kB"
  std::ifstream file(absl::StrCat(root, "/proc/meminfo"));
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t kib = 0;
    if (words.size() >= 2 && words[0] == "MemTotal:" && absl::SimpleAtoi(words[1], &kib)) {
      Lower(kib << 10, "the machine's memory", limit);
    }
  }
}

void LowerByResource(int resource, absl::string_view source, MemoryLimit* limit) {
  rlimit set{};
  if (getrlimit(resource, &set) != 0 || set.rlim_cur == RLIM_INFINITY) return;
  Lower(static_cast<int64_t>(set.rlim_cur), source, limit);
}

}  // namespace

MemoryLimit ReadMemoryLimit(const std::string& root) {
  MemoryLimit limit{std::numeric_limits<int64_t>::max(), "nothing"};
  LowerByMachine(root, &limit);
  LowerByCgroups(root, &limit);
  LowerByResource(RLIMIT_AS, "its RLIMIT_AS", &limit);
  LowerByResource(RLIMIT_DATA, "its RLIMIT_DATA", &limit);
  return limit;
}

absl::Status CheckMemory(int64_t weight_bytes, int64_t kv_cache_bytes, const MemoryLimit& limit) {
  if (weight_bytes + kv_cache_bytes <= limit.bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the model's weights take ", Mib(weight_bytes), " and the KV cache up to ",
      Mib(kv_cache_bytes), " (kv_cache_mib), ", Mib(weight_bytes + kv_cache_bytes),
      " together, and this process may have ", Mib(limit.bytes), " (", limit.source, ")"));
}

absl::Status CheckKvCache(int64_t kv_cache_bytes, int64_t block_bytes) {
  if (kv_cache_bytes >= block_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("kv_cache_mib is ", kv_cache_bytes >> 20, ", which is ", kv_cache_bytes,
                   " bytes, and one block of this model's KV cache takes ", block_bytes));
}

}  // namespace amend
