#include "core/base/process_memory.h"

#include <cstdlib>  // says which C library it is

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

}  // namespace amend
