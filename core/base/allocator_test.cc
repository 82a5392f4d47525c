#include "core/base/allocator.h"

#include <cstdlib>
#include <cstring>

#include "gtest/gtest.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace amend {
namespace {

TEST(KeepFreedMemoryTest, LargeBlocksComeFromMemoryThatIsKept) {
#ifndef __GLIBC__
  GTEST_SKIP() << "another C library";
#else
  KeepFreedMemory();
  const auto mapped = [] { return mallinfo2().hblks; };
  const auto before = mapped();
  void* block = std::malloc(16 << 20);
  std::memset(block, 1, 16 << 20);
  EXPECT_EQ(mapped(), before);
  std::free(block);
  void* huge = std::malloc(64 << 20);
  EXPECT_EQ(mapped(), before + 1);
  std::free(huge);
#endif
}

}  // namespace
}  // namespace amend
