#include "core/base/process_memory.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace amend {
namespace {

#ifdef __GLIBC__

TEST(ProcessMemoryTest, LargeBlocksComeFromMemoryThatIsKept) {
  SetUpProcessMemory();
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
}

TEST(ProcessMemoryTest, FreedMemoryGoesBackWhenAsked) {
  SetUpProcessMemory();
  std::vector<std::unique_ptr<std::vector<char>>> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(std::make_unique<std::vector<char>>(1 << 20, 'x'));
  const auto last = std::move(blocks.back());
  const int64_t full = ResidentBytes();
  blocks.clear();
  GiveBackFreedMemory();
  EXPECT_LT(ResidentBytes(), full - (int64_t{80} << 20));
}

TEST(ProcessMemoryTest, KernelsForManyShapesAreNotAllKept) {
  SetUpProcessMemory();
  const at::NoGradGuard no_grad;
  const auto options = at::TensorOptions().dtype(at::kBFloat16);
  const at::Tensor weight = at::ones({64, 64}, options);
  const auto run = [&](int64_t from, int64_t to) {
    for (int64_t rows = from; rows < to; ++rows) at::linear(at::ones({rows, 64}, options), weight);
    return static_cast<double>(mallinfo2().uordblks);
  };
  const double few = run(2, 202);
  const double many = run(202, 902);
  // All kept, 700 kernels take 50 MB and more.
  EXPECT_LT(many - few, 20e6);
}

#endif

TEST(ProcessMemoryTest, WhatTheEnvironmentSaysWins) {
  setenv("LRU_CACHE_CAPACITY", "77", 1);
  setenv("THP_MEM_ALLOC_ENABLE", "0", 1);
  unsetenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY");
  SetUpProcessMemory();
  EXPECT_STREQ(std::getenv("THP_MEM_ALLOC_ENABLE"), "0");
  EXPECT_STREQ(std::getenv("LRU_CACHE_CAPACITY"), "77");
  EXPECT_STREQ(std::getenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY"), "128");
}

}  // namespace
}  // namespace amend
