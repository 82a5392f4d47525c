#include "core/base/tensor_memory.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <vector>

#include "core/base/memory_reserve.h"
#include "core/base/testing/status_matchers.h"
#include "core/base/torch_status.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr int64_t kMib = int64_t{1} << 20;

TEST(TensorMemoryTest, TensorsLeaveTheMarginToOthers) {
  KeepTensorsFromMemoryMargin();
  EXPECT_EQ(at::ones({1000}).sum().item<float>(), 1000);
  std::vector<at::Tensor> kept;
  kept.reserve(1000);
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit less = before;
  less.rlim_cur = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE) + 200 * kMib);
  setrlimit(RLIMIT_AS, &less);
  const absl::Status status = CatchTorch("filling", [&] {
    while (true) kept.push_back(at::empty({kMib / 4}, at::kFloat));
    return absl::OkStatus();
  });
  const bool room = HasMemoryMargin();
  const int64_t tensors = static_cast<int64_t>(kept.size());
  setrlimit(RLIMIT_AS, &before);
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kResourceExhausted, testing::HasSubstr("would be left")));
  // But for what was asked for since the last look.
  EXPECT_TRUE(room || tensors < 176);
  EXPECT_GT(tensors, 100);
  kept.clear();
  EXPECT_EQ(at::ones({10 * kMib}).numel(), 10 * kMib);
}

}  // namespace
}  // namespace amend
