#ifndef AMEND_SERVER_EVENT_LOG_H_
#define AMEND_SERVER_EVENT_LOG_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace amend {

// From the least to the most important. kAccess is for one event per RPC.
enum class LogLevel { kDebug, kAccess, kInfo, kWarning, kError };
// kText: "amendd: ready: grpc=127.0.0.1:50051". kJson: {"time": ..., "severity": "INFO",
// "event": "ready", "grpc": "127.0.0.1:50051"}.
enum class LogFormat { kText, kJson };

// The names that flags and fields use: "debug", "access", "info", "warning", "error".
std::vector<std::string> LogLevelNames();
std::string LogLevelName(LogLevel level);
// INVALID_ARGUMENT, naming the level and those there are.
absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view name);

// One named value of an event.
struct LogField {
  std::string name;
  std::variant<std::string, int64_t, double, bool> value;
};

// Writes what happens, one line per event. Thread-safe; never waits for whoever reads: a line that
// finds the queue full is dropped, and a later event says how many were.
//
// A field named "message" is a sentence for people; the text format shows it bare.
//
// What clients send (prompts, targets, reasons that quote them) is for kDebug alone.
class EventLog {
 public:
  struct Options {
    LogFormat format = LogFormat::kText;
    LogLevel level = LogLevel::kInfo;
    // Lines that wait to be written.
    int max_queued = 4096;
    std::function<absl::Time()> clock = absl::Now;
    // Takes whole lines, each with its line feed, on the log's own thread. By default they go to
    // stderr.
    std::function<void(absl::string_view)> write;
  };
  explicit EventLog(Options options);
  // Writes what waits.
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // Whether an event of this level is written: whoever has to work for its fields asks first.
  bool Writes(LogLevel level) const { return level >= this->level(); }
  LogLevel level() const { return level_; }
  void SetLevel(LogLevel level) { level_ = level; }

  // `event` is a name of this program, in snake case. Bytes of a field that are not UTF-8 are
  // replaced.
  void Write(LogLevel level, absl::string_view event, const std::vector<LogField>& fields = {})
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns when all lines of before are written.
  void Flush() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  std::string Line(LogLevel level, absl::string_view event,
                   const std::vector<LogField>& fields) const;
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  std::atomic<LogLevel> level_;
  absl::Mutex mutex_;
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  int64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace amend

#endif  // AMEND_SERVER_EVENT_LOG_H_
