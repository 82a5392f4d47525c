#include "server/task_executor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/errors.h"

namespace amend {

TaskExecutor::TaskExecutor(Options options) : options_(options) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Run(); });
}

TaskExecutor::~TaskExecutor() { Stop(); }

absl::Status TaskExecutor::Submit(std::function<void()> task) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) {
    return WithReason(absl::UnavailableError("the server is shutting down"), "DRAINING");
  }
  if (static_cast<int>(tasks_.size()) >= options_.max_queued) {
    return WithRetryDelay(
        WithReason(absl::ResourceExhaustedError(absl::StrCat(
                       tasks_.size(), " requests wait, at most ", options_.max_queued, " may")),
                   "QUEUE_FULL"),
        absl::Seconds(1));
  }
  tasks_.push_back(std::move(task));
  return absl::OkStatus();
}

void TaskExecutor::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void TaskExecutor::Run() {
  while (true) {
    std::function<void()> task;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &TaskExecutor::Ready));
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace amend
