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
  auto* huge = static_cast<volatile char*>(std::malloc(64 << 20));
  huge[0] = 1;
  EXPECT_EQ(mapped(), before + 1);
  std::free(const_cast<char*>(huge));
#endif
}

}  // namespace
}  // namespace amend
