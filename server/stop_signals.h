#ifndef AMEND_SERVER_STOP_SIGNALS_H_
#define AMEND_SERVER_STOP_SIGNALS_H_

#include <functional>

namespace amend {

// What a process does on SIGTERM, SIGINT and SIGHUP. One per process, made in main before any
// thread is; it lives as long as the process. Thread-safe.
//
// - Before Serve, SIGTERM and SIGINT end the process with exit code 1, and SIGHUP does nothing.
// - After it, SIGHUP calls `on_reload`, one call at a time; the first SIGTERM or SIGINT lets
//   WaitForStop return, and nothing is called from then on; the second ends the process with 1.
class StopSignals {
 public:
  // Blocks the signals in this thread and in those that it starts.
  StopSignals();

  // Once. `on_reload` is called on a thread of this object, until WaitForStop has returned.
  void Serve(std::function<void()> on_reload);
  void WaitForStop();

 private:
  struct State;
  // Never deleted: the thread that waits for signals outlives main.
  State* const state_;
};

}  // namespace amend

#endif  // AMEND_SERVER_STOP_SIGNALS_H_
