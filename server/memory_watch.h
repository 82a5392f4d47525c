#ifndef AMEND_SERVER_MEMORY_WATCH_H_
#define AMEND_SERVER_MEMORY_WATCH_H_

#include <cstdint>
#include <functional>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "server/event_log.h"
#include "server/memory_limit.h"

namespace amend {

// Says once that memory is tight: when what is resident passes 90 % of the limit, and again only
// after it fell below 80 %. Not thread-safe.
class MemoryAlarm {
 public:
  // Whether this look is one to tell of. Both in bytes, `limit` above 0.
  bool Look(int64_t resident, int64_t limit);

 private:
  bool tight_ = false;
};

// Writes the event "memory_tight" at kWarning, with bytes resident, the limit and what sets it,
// when a MemoryAlarm says so. Looks from a thread of its own, first of all at once. `log` outlives
// it.
class MemoryWatch {
 public:
  struct Options {
    absl::Duration interval = absl::Seconds(5);
    std::function<int64_t()> resident_bytes;
    std::function<MemoryLimit()> limit;
  };
  MemoryWatch(EventLog* log, Options options);
  // Of this process.
  explicit MemoryWatch(EventLog* log);
  ~MemoryWatch();
  MemoryWatch(const MemoryWatch&) = delete;
  MemoryWatch& operator=(const MemoryWatch&) = delete;

 private:
  void Run();

  EventLog* const log_;
  const Options options_;
  absl::Notification stop_;
  std::thread thread_;
};

}  // namespace amend

#endif  // AMEND_SERVER_MEMORY_WATCH_H_
