#include "server/stop_signals.h"

#include <pthread.h>

#include <csignal>
#include <cstdlib>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

namespace amend {
namespace {

constexpr int kFailed = 1;

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

struct StopSignals::State {
  // Whoever holds it is within on_reload, or keeps it from being called.
  absl::Mutex mutex;
  bool serving ABSL_GUARDED_BY(mutex) = false;
  std::function<void()> on_reload ABSL_GUARDED_BY(mutex);
  absl::Notification stop;

  void OnHangUp() {
    absl::MutexLock lock(&mutex);
    if (serving && !stop.HasBeenNotified()) on_reload();
  }
  void OnStop() {
    absl::MutexLock lock(&mutex);
    if (!serving || stop.HasBeenNotified()) std::_Exit(kFailed);
    stop.Notify();
  }
};

StopSignals::StopSignals() : state_(new State) {
  const sigset_t signals = Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::thread([signals, state = state_] {
    while (true) {
      int signal = 0;
      sigwait(&signals, &signal);
      if (signal == SIGHUP) {
        state->OnHangUp();
      } else {
        state->OnStop();
      }
    }
  }).detach();
}

void StopSignals::Serve(std::function<void()> on_reload) {
  absl::MutexLock lock(&state_->mutex);
  state_->on_reload = std::move(on_reload);
  state_->serving = true;
}

void StopSignals::WaitForStop() { state_->stop.WaitForNotification(); }

}  // namespace amend
