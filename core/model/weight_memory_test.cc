#include "core/model/weight_memory.h"

#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "gtest/gtest.h"

namespace amend {
namespace {

TEST(WeightMemoryTest, TensorsStayWhatTheyAreAndLieOneBehindTheOther) {
  WeightMemory memory;
  const at::Tensor first = at::randn({300, 500}), second = at::randn({200, 700}).to(at::kBFloat16);
  const at::Tensor kept = memory.Keep(first), turned = memory.Keep(second.t());
  EXPECT_TRUE(kept.equal(first));
  EXPECT_TRUE(turned.equal(second.t()));
  EXPECT_TRUE(turned.is_contiguous());
  EXPECT_EQ(static_cast<const char*>(turned.const_data_ptr()) -
                static_cast<const char*>(kept.const_data_ptr()),
            300 * 500 * 4);
}

TEST(WeightMemoryTest, ATensorOutlivesTheMemoryAndItsNeighbours) {
  at::Tensor kept;
  const at::Tensor expected = at::randn({512, 512});
  {
    WeightMemory memory;
    memory.Keep(at::randn({512, 512}));
    kept = memory.Keep(expected);
  }
  EXPECT_TRUE(kept.equal(expected));
}

TEST(WeightMemoryTest, WhatFitsIntoNoPieceGetsOneOfItsOwn) {
  WeightMemory memory;
  const at::Tensor before = at::randn({512, 512});
  const at::Tensor kept = memory.Keep(before);
  const at::Tensor large = memory.Keep(at::zeros({(300 << 20) / 4}));
  EXPECT_EQ(large.numel(), (300 << 20) / 4);
  const at::Tensor after = memory.Keep(before);
  EXPECT_TRUE(kept.equal(before));
  EXPECT_TRUE(after.equal(before));
}

TEST(WeightMemoryTest, SmallTensorsStayWhereTheyAre) {
  WeightMemory memory;
  const at::Tensor small = at::randn({100});
  EXPECT_TRUE(memory.Keep(small).is_same(small));
}

}  // namespace
}  // namespace amend
