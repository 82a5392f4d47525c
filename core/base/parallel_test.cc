#include "core/base/parallel.h"

#include <ATen/Parallel.h>

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace amend {
namespace {

class ParallelTest : public testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(2); }
};

TEST_F(ParallelTest, TwoRangesRunAtTheSameTime) {
  // Each waits for the other: one after the other would never end.
  std::atomic<int> inside = 0;
  ParallelFor(0, 2, 1, [&](int64_t, int64_t) {
    ++inside;
    while (inside < 2) std::this_thread::yield();
  });
  EXPECT_EQ(inside, 2);
}

TEST_F(ParallelTest, EveryNumberIsVisitedOnce) {
  for (const int64_t grain : {1, 3, 7, 100}) {
    std::vector<std::atomic<int>> visits(50);
    ParallelFor(5, 50, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++visits[i];
    });
    for (int64_t i = 0; i < 50; ++i) EXPECT_EQ(visits[i], i < 5 ? 0 : 1) << i;
  }
}

TEST_F(ParallelTest, OneThreadAndSmallRangesStayOnTheCallingThread) {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  const auto note = [&](int64_t, int64_t) {
    const std::lock_guard<std::mutex> lock(mutex);
    threads.insert(std::this_thread::get_id());
  };
  ParallelFor(0, 10, 10, note);
  at::set_num_threads(1);
  ParallelFor(0, 10, 1, note);
  EXPECT_EQ(threads, std::set<std::thread::id>({std::this_thread::get_id()}));
}

TEST_F(ParallelTest, InsideItRunsInPlace) {
  std::atomic<int> inner = 0;
  ParallelFor(0, 2, 1, [&](int64_t, int64_t) {
    const std::thread::id outer = std::this_thread::get_id();
    ParallelFor(0, 2, 1, [&](int64_t begin, int64_t end) {
      if (std::this_thread::get_id() == outer) inner += static_cast<int>(end - begin);
    });
  });
  EXPECT_EQ(inner, 4);
}

TEST_F(ParallelTest, AnExceptionComesBack) {
  EXPECT_THROW(ParallelFor(0, 2, 1, [](int64_t, int64_t) { throw std::runtime_error("no"); }),
               std::runtime_error);
}

}  // namespace
}  // namespace amend
