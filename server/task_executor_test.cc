#include "server/task_executor.h"

#include <atomic>

#include "absl/synchronization/notification.h"
#include "core/base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

TEST(TaskExecutorTest, RunsTasksInOrder) {
  std::vector<int> order;
  TaskExecutor executor({});
  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(executor.Submit([&order, i] { order.push_back(i); }), IsOk());
  }
  executor.Stop();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST(TaskExecutorTest, AFullQueueTurnsATaskDownWithQueueFull) {
  absl::Notification started, release;
  TaskExecutor executor({/*threads=*/1, /*max_queued=*/1});
  ASSERT_THAT(executor.Submit([&] {
    started.Notify();
    release.WaitForNotification();
  }),
              IsOk());
  started.WaitForNotification();
  EXPECT_THAT(executor.Submit([] {}), IsOk());
  const absl::Status full = executor.Submit([] {});
  EXPECT_THAT(full, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(ReasonOf(full), "QUEUE_FULL");
  release.Notify();
}

TEST(TaskExecutorTest, StopRunsWhatIsQueuedAndThenTakesNothing) {
  std::atomic<int> ran{0};
  TaskExecutor executor({});
  ASSERT_THAT(executor.Submit([&] { ++ran; }), IsOk());
  executor.Stop();
  EXPECT_EQ(ran, 1);
  EXPECT_THAT(executor.Submit([&] { ++ran; }), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace amend
