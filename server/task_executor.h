#ifndef AMEND_SERVER_TASK_EXECUTOR_H_
#define AMEND_SERVER_TASK_EXECUTOR_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace amend {

// Runs short tasks that may read the disk, so that gRPC's threads do not. Thread-safe.
class TaskExecutor {
 public:
  struct Options {
    int threads = 1;
    // Tasks that may wait.
    int max_queued = 1024;
  };
  explicit TaskExecutor(Options options);
  // Stops.
  ~TaskExecutor();
  TaskExecutor(const TaskExecutor&) = delete;
  TaskExecutor& operator=(const TaskExecutor&) = delete;

  // Never blocks. RESOURCE_EXHAUSTED (reason QUEUE_FULL) or, after Stop, UNAVAILABLE (reason
  // DRAINING): `task` does not run then.
  absl::Status Submit(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mutex_);
  // Runs what is queued, then ends the threads.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  bool Ready() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !tasks_.empty(); }

  const Options options_;
  absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace amend

#endif  // AMEND_SERVER_TASK_EXECUTOR_H_
