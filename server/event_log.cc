#include "server/event_log.h"

#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace amend {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kMessage[] = "message";
constexpr const char* kLevelNames[] = {"debug", "access", "info", "warning", "error"};

// Gives up where stderr takes nothing: there is nobody to tell.
void WriteToStderr(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(written);
  }
}

Json ToJson(const LogField& field) {
  return std::visit([](const auto& value) { return Json(value); }, field.value);
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

// A text that is one word stays as it is; others are quoted.
std::string ValueText(const LogField& field) {
  const auto* const text = std::get_if<std::string>(&field.value);
  if (text == nullptr || text->empty()) return Dump(ToJson(field));
  for (const char c : *text) {
    if (!absl::ascii_isgraph(c) || c == '"' || c == '=') return Dump(ToJson(field));
  }
  return *text;
}

// "name=value", and of a message, which is a sentence for people, the sentence.
std::string ToText(const LogField& field) {
  const auto* const text = std::get_if<std::string>(&field.value);
  if (field.name == kMessage && text != nullptr) {
    return absl::StrReplaceAll(*text, {{"\n", " "}, {"\r", " "}});
  }
  return absl::StrCat(field.name, "=", ValueText(field));
}

}  // namespace

std::vector<std::string> LogLevelNames() {
  return {std::begin(kLevelNames), std::end(kLevelNames)};
}

std::string LogLevelName(LogLevel level) { return kLevelNames[static_cast<int>(level)]; }

absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view name) {
  for (size_t i = 0; i < std::size(kLevelNames); ++i) {
    if (name == kLevelNames[i]) return static_cast<LogLevel>(i);
  }
  return absl::InvalidArgumentError(absl::StrCat("log level is \"", name, "\", not one of ",
                                                 absl::StrJoin(LogLevelNames(), ", ")));
}

EventLog::EventLog(Options options) : options_(std::move(options)), level_(options_.level) {
  thread_ = std::thread([this] { Run(); });
}

EventLog::~EventLog() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

std::string EventLog::Line(LogLevel level, absl::string_view event,
                           const std::vector<LogField>& fields) const {
  if (options_.format == LogFormat::kText) {
    // Every other program's first word is its name.
    std::string line = absl::StrCat("amendd: ", absl::StrReplaceAll(event, {{"_", " "}}));
    const char* separator = ": ";
    for (const LogField& field : fields) {
      absl::StrAppend(&line, std::exchange(separator, " "), ToText(field));
    }
    return absl::StrCat(line, "\n");
  }
  Json line;
  line["time"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", options_.clock(), absl::UTCTimeZone());
  line["severity"] = absl::AsciiStrToUpper(LogLevelName(level));
  line["event"] = std::string(event);
  for (const LogField& field : fields) line[field.name] = ToJson(field);
  return absl::StrCat(Dump(line), "\n");
}

void EventLog::Write(LogLevel level, absl::string_view event, const std::vector<LogField>& fields) {
  if (!Writes(level)) return;
  std::string line = Line(level, event, fields);
  absl::MutexLock lock(&mutex_);
  if (lines_.size() >= static_cast<size_t>(options_.max_queued)) {
    ++dropped_;
    return;
  }
  lines_.push_back(std::move(line));
}

void EventLog::Flush() {
  absl::MutexLock lock(&mutex_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return lines_.empty() && !writing_;
  };
  mutex_.Await(absl::Condition(&idle));
}

void EventLog::Run() {
  const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !lines_.empty();
  };
  while (true) {
    std::deque<std::string> lines;
    int64_t dropped = 0;
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      mutex_.Await(absl::Condition(&has_work));
      if (lines_.empty()) return;
      lines.swap(lines_);
      dropped = std::exchange(dropped_, 0);
      writing_ = true;
    }
    if (dropped > 0) {
      lines.push_back(Line(LogLevel::kWarning, "log_lines_dropped", {{"lines", dropped}}));
    }
    for (const std::string& line : lines) {
      if (options_.write) {
        options_.write(line);
      } else {
        WriteToStderr(line);
      }
    }
  }
}

}  // namespace amend
