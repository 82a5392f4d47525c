#include "server/memory_watch.h"

#include <atomic>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

TEST(MemoryAlarmTest, ItSaysOnceThatMemoryIsTight) {
  MemoryAlarm alarm;
  EXPECT_FALSE(alarm.Look(900, 1000));
  EXPECT_TRUE(alarm.Look(901, 1000));
  EXPECT_FALSE(alarm.Look(999, 1000));
}

TEST(MemoryAlarmTest, ItSaysSoAgainOnlyAfterItWasWell) {
  MemoryAlarm alarm;
  EXPECT_TRUE(alarm.Look(950, 1000));
  EXPECT_FALSE(alarm.Look(800, 1000));
  EXPECT_FALSE(alarm.Look(950, 1000));
  EXPECT_FALSE(alarm.Look(799, 1000));
  EXPECT_TRUE(alarm.Look(950, 1000));
}

TEST(MemoryAlarmTest, ALimitThatIsLoweredCounts) {
  MemoryAlarm alarm;
  EXPECT_FALSE(alarm.Look(500, 1000));
  EXPECT_TRUE(alarm.Look(500, 550));
}

TEST(MemoryWatchTest, ItLooksUntilItEnds) {
  std::atomic<int> looks = 0;
  absl::Notification twice;
  EventLog log({});
  {
    const MemoryWatch watch(&log, {absl::Milliseconds(1),
                                   [&]() -> int64_t {
                                     if (++looks == 2) twice.Notify();
                                     return 1;
                                   },
                                   [] {
                                     return MemoryLimit{100, "a test"};
                                   }});
    twice.WaitForNotification();
  }
  EXPECT_GE(looks, 2);
}

}  // namespace
}  // namespace amend
