#include "server/memory_limit.h"

#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kMib = 1 << 20;

// A system of 1 GiB whose files the test writes.
class MemoryLimitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = ::testing::TempDir() + "/" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    Write("/proc/meminfo", "MemFree: 5 kB\nMemTotal:       1048576 kB\n");
  }
  void Write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string root_;
};

TEST_F(MemoryLimitTest, WithoutACgroupItIsTheMachine) {
  const MemoryLimit limit = ReadMemoryLimit(root_);
  EXPECT_EQ(limit.bytes, 1024 * kMib);
  EXPECT_EQ(limit.source, "the machine's memory");
}

TEST_F(MemoryLimitTest, ACgroupMayHaveLess) {
  Write("/proc/self/cgroup", "0::/pods/amend\n");
  Write("/sys/fs/cgroup/pods/amend/memory.max", "104857600\n");
  const MemoryLimit limit = ReadMemoryLimit(root_);
  EXPECT_EQ(limit.bytes, 100 * kMib);
  EXPECT_THAT(limit.source, HasSubstr("memory.max of the cgroup /pods/amend"));
}

TEST_F(MemoryLimitTest, ACgroupAboveMayHaveLessStill) {
  Write("/proc/self/cgroup", "0::/pods/amend\n");
  Write("/sys/fs/cgroup/pods/amend/memory.max", "max\n");
  Write("/sys/fs/cgroup/pods/memory.max", "52428800\n");
  EXPECT_EQ(ReadMemoryLimit(root_).bytes, 50 * kMib);
}

TEST_F(MemoryLimitTest, TheFirstVersionOfCgroupsIsReadToo) {
  Write("/proc/self/cgroup", "9:name=systemd:/\n4:memory:/box\n0::/\n");
  Write("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "20971520\n");
  EXPECT_EQ(ReadMemoryLimit(root_).bytes, 20 * kMib);
}

TEST_F(MemoryLimitTest, ALimitAboveTheMachineIsNone) {
  Write("/proc/self/cgroup", "0::/\n");
  Write("/sys/fs/cgroup/memory.max", "9223372036854771712\n");
  EXPECT_EQ(ReadMemoryLimit(root_).source, "the machine's memory");
}

TEST_F(MemoryLimitTest, DataAndTheAddressSpaceMayBeLimited) {
  for (const auto& [resource, source] :
       {std::pair(RLIMIT_DATA, "its RLIMIT_DATA"), std::pair(RLIMIT_AS, "its RLIMIT_AS")}) {
    SCOPED_TRACE(source);
    rlimit before{};
    ASSERT_EQ(getrlimit(resource, &before), 0);
    const rlimit less{512 * kMib, before.rlim_max};
    ASSERT_EQ(setrlimit(resource, &less), 0);
    const MemoryLimit limit = ReadMemoryLimit(root_);
    ASSERT_EQ(setrlimit(resource, &before), 0);
    EXPECT_EQ(limit.bytes, 512 * kMib);
    EXPECT_EQ(limit.source, source);
  }
}

TEST_F(MemoryLimitTest, WhatDoesNotFitIsNamedWithAllNumbers) {
  const MemoryLimit limit{100 * kMib, "RLIMIT_AS"};
  EXPECT_THAT(CheckMemory(40 * kMib, 60 * kMib, limit), IsOk());
  EXPECT_THAT(CheckMemory(40 * kMib, 61 * kMib, limit),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("40 MiB"), HasSubstr("61 MiB"), HasSubstr("101 MiB"),
                             HasSubstr("100 MiB (RLIMIT_AS)"))));
}

TEST_F(MemoryLimitTest, AKvCacheWithoutRoomForABlockIsNamedWithBoth) {
  EXPECT_THAT(CheckKvCache(kMib, kMib), IsOk());
  EXPECT_THAT(CheckKvCache(kMib, kMib + 1),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("kv_cache_mib is 1"), HasSubstr("1048577"))));
}

}  // namespace
}  // namespace amend
