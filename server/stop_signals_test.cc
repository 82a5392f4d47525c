#include "server/stop_signals.h"

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

// The exit code of a process that runs `body`.
int ExitCodeOf(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(42);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void Send(int signal) { kill(getpid(), signal); }

// For a signal whose effect is the end of the process.
[[noreturn]] void WaitForever() {
  while (true) pause();
}

TEST(StopSignalsTest, BeforeItServesASignalEndsTheProcess) {
  EXPECT_EQ(ExitCodeOf([] {
              StopSignals signals;
              Send(SIGTERM);
              WaitForever();
            }),
            1);
}

TEST(StopSignalsTest, BeforeItServesAHangUpDoesNothing) {
  EXPECT_EQ(ExitCodeOf([] {
              StopSignals signals;
              Send(SIGHUP);
              signals.Serve([] {});
              Send(SIGTERM);
              signals.WaitForStop();
            }),
            42);
}

TEST(StopSignalsTest, AHangUpReloadsEveryTime) {
  EXPECT_EQ(ExitCodeOf([] {
              StopSignals signals;
              int reloads = 0;
              absl::Notification first, second;
              signals.Serve([&] { (++reloads == 1 ? first : second).Notify(); });
              Send(SIGHUP);
              first.WaitForNotification();
              Send(SIGHUP);
              second.WaitForNotification();
              Send(SIGINT);
              signals.WaitForStop();
            }),
            42);
}

TEST(StopSignalsTest, ASecondSignalEndsTheProcess) {
  EXPECT_EQ(ExitCodeOf([] {
              StopSignals signals;
              signals.Serve([] {});
              Send(SIGTERM);
              signals.WaitForStop();
              Send(SIGTERM);
              WaitForever();
            }),
            1);
}

}  // namespace
}  // namespace amend
