#include "core/base/process_memory.h"

#include <unistd.h>

#include <cstdlib>  // says which C library it is
#include <fstream>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace amend {
namespace {

constexpr char kCachedKernels[] = "128";

}  // namespace

void SetUpProcessMemory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", kCachedKernels, /*overwrite=*/0);
  setenv("LRU_CACHE_CAPACITY", kCachedKernels, /*overwrite=*/0);
  setenv("THP_MEM_ALLOC_ENABLE", "1", /*overwrite=*/0);
}

void GiveBackFreedMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

int64_t ResidentBytes() {
  int64_t mapped_pages = 0;
  int64_t resident_pages = 0;
  std::ifstream("/proc/self/statm") >> mapped_pages >> resident_pages;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

}  // namespace amend
