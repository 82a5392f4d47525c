#include "server/memory_watch.h"

#include <utility>

#include "core/base/process_memory.h"

namespace amend {

bool MemoryAlarm::Look(int64_t resident, int64_t limit) {
  const double share = static_cast<double>(resident) / static_cast<double>(limit);
  if (share < 0.8) tight_ = false;
  if (tight_ || share <= 0.9) return false;
  tight_ = true;
  return true;
}

MemoryWatch::MemoryWatch(EventLog* log, Options options)
    : log_(log), options_(std::move(options)), thread_([this] { Run(); }) {}

MemoryWatch::MemoryWatch(EventLog* log)
    : MemoryWatch(log, {absl::Seconds(5), ResidentBytes, [] { return ReadMemoryLimit(); }}) {}

MemoryWatch::~MemoryWatch() {
  stop_.Notify();
  thread_.join();
}

void MemoryWatch::Run() {
  MemoryAlarm alarm;
  do {
    const int64_t resident = options_.resident_bytes();
    const MemoryLimit limit = options_.limit();
    if (alarm.Look(resident, limit.bytes)) {
      log_->Write(
          LogLevel::kWarning, "memory_tight",
          {{"resident_bytes", resident}, {"limit_bytes", limit.bytes}, {"limit", limit.source}});
    }
  } while (!stop_.WaitForNotificationWithTimeout(options_.interval));
}

}  // namespace amend
