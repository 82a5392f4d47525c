#include "core/base/memory_reserve.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <new>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr int64_t kMib = int64_t{1} << 20;

int64_t MappedBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0;
  file >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

// The process may map this much more while one of it lives.
class Room {
 public:
  explicit Room(int64_t bytes) {
    getrlimit(RLIMIT_AS, &before_);
    rlimit less = before_;
    less.rlim_cur = static_cast<rlim_t>(MappedBytes() + bytes);
    setrlimit(RLIMIT_AS, &less);
  }
  ~Room() { setrlimit(RLIMIT_AS, &before_); }

 private:
  rlimit before_{};
};

class MemoryReserveTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { SetUpMemoryReserve(); }
  // As often as it takes: it tries by itself every 100 ms.
  static bool ComesBack() {
    const absl::Time end = absl::Now() + absl::Seconds(30);
    while (MemoryIsShort()) {
      if (absl::Now() > end) return false;
    }
    return true;
  }
  void TearDown() override { ASSERT_TRUE(ComesBack()); }
};

TEST_F(MemoryReserveTest, AnAllocationThatDoesNotFitHasTheReserve) {
  EXPECT_FALSE(MemoryIsShort());
  const Room room(8 * kMib);
  const auto block = std::make_unique<char[]>(40 * kMib);
  EXPECT_NE(block, nullptr);
  EXPECT_TRUE(MemoryIsShort());
}

TEST_F(MemoryReserveTest, MemoryIsShortAsSoonAsThereIsNoMargin) {
  {
    const Room room(kMemoryMarginBytes + 8 * kMib);
    EXPECT_FALSE(MemoryIsShort());
  }
  const Room room(kMemoryMarginBytes - 8 * kMib);
  const int64_t mapped = MappedBytes();
  EXPECT_TRUE(MemoryIsShort());
  EXPECT_LE(MappedBytes(), mapped - kMemoryReserveBytes);
}

TEST_F(MemoryReserveTest, AnAllocationThatIsLargerThanTheReserveFailsAndLeavesItToOthers) {
  const Room room(8 * kMib);
  EXPECT_THROW(std::make_unique<char[]>(200 * kMib), std::bad_alloc);
  std::vector<std::unique_ptr<char[]>> small;
  for (int i = 0; i < 50; ++i) small.push_back(std::make_unique<char[]>(kMib));
  EXPECT_TRUE(MemoryIsShort());
}

TEST_F(MemoryReserveTest, ItIsHadBackOnceThereIsRoom) {
  {
    const Room room(8 * kMib);
    EXPECT_THROW(std::make_unique<char[]>(200 * kMib), std::bad_alloc);
    const auto block = std::make_unique<char[]>(40 * kMib);
    EXPECT_TRUE(MemoryIsShort());
  }
  EXPECT_TRUE(ComesBack());
  const int64_t mapped = MappedBytes();
  ReleaseMemoryReserve();
  EXPECT_LE(MappedBytes(), mapped - kMemoryReserveBytes);
}

TEST_F(MemoryReserveTest, ReleasingItTwiceIsLikeOnce) {
  ReleaseMemoryReserve();
  const int64_t mapped = MappedBytes();
  ReleaseMemoryReserve();
  EXPECT_EQ(MappedBytes(), mapped);
}

}  // namespace
}  // namespace amend
