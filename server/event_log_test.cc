#include "server/event_log.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Keeps what was written. Read it after Flush or after the log's end.
struct Written {
  std::string text;
  std::vector<std::string> lines() const { return absl::StrSplit(text, '\n', absl::SkipEmpty()); }
  EventLog::Options Options(LogFormat format) {
    EventLog::Options options;
    options.format = format;
    options.clock = [] { return absl::FromUnixMicros(1234567); };
    options.write = [this](absl::string_view line) { absl::StrAppend(&text, line); };
    return options;
  }
};

TEST(EventLogTest, AJsonLineHasTimeSeverityEventAndFields) {
  Written written;
  EventLog log(written.Options(LogFormat::kJson));
  log.Write(LogLevel::kWarning, "batch_finished",
            {{"session", "a \"b\""}, {"offset", int64_t{7}}, {"seconds", 0.5}, {"live", true}});
  log.Flush();
  EXPECT_EQ(written.text,
            "{\"time\":\"1970-01-01T00:00:01.234567Z\",\"severity\":\"WARNING\","
            "\"event\":\"batch_finished\",\"session\":\"a \\\"b\\\"\",\"offset\":7,"
            "\"seconds\":0.5,\"live\":true}\n");
}

TEST(EventLogTest, ATextLineNamesTheProgramTheEventAndTheFields) {
  Written written;
  EventLog log(written.Options(LogFormat::kText));
  log.Write(LogLevel::kInfo, "batch_finished", {{"session", "a b"}, {"outcome", "live"}});
  log.Write(LogLevel::kInfo, "draining");
  log.Write(LogLevel::kError, "start_failed", {{"message", "cannot read\n\"x\""}});
  log.Flush();
  EXPECT_THAT(written.lines(),
              ElementsAre("amendd: batch finished: session=\"a b\" outcome=live",
                          "amendd: draining", "amendd: start failed: cannot read \"x\""));
}

TEST(EventLogTest, WhateverAFieldHoldsALineStaysOneLineOfJson) {
  Written written;
  EventLog log(written.Options(LogFormat::kJson));
  for (const char* text : {"two\nlines", "\xff\xfe not UTF-8", "\"}", "\x01", ""}) {
    log.Write(LogLevel::kInfo, "event", {{"text", text}});
  }
  log.Flush();
  ASSERT_THAT(written.lines(), SizeIs(5));
  for (const std::string& line : written.lines()) {
    EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  }
}

TEST(EventLogTest, WhateverAFieldHoldsALineOfTextStaysOneLine) {
  Written written;
  EventLog log(written.Options(LogFormat::kText));
  log.Write(LogLevel::kInfo, "event", {{"text", "two\nlines"}, {"other", ""}});
  log.Flush();
  EXPECT_THAT(written.lines(), ElementsAre("amendd: event: text=\"two\\nlines\" other=\"\""));
}

TEST(EventLogTest, EventsBelowTheLevelAreNotWritten) {
  Written written;
  EventLog log(written.Options(LogFormat::kText));
  EXPECT_FALSE(log.Writes(LogLevel::kAccess));
  log.Write(LogLevel::kAccess, "rpc");
  log.Write(LogLevel::kInfo, "first");
  log.SetLevel(LogLevel::kError);
  log.Write(LogLevel::kInfo, "second");
  log.SetLevel(LogLevel::kDebug);
  log.Write(LogLevel::kDebug, "third");
  log.Flush();
  EXPECT_THAT(written.lines(), ElementsAre("amendd: first", "amendd: third"));
}

TEST(EventLogTest, AReaderThatTakesNothingHoldsUpNobodyAndDroppedLinesAreCounted) {
  Written written;
  absl::Notification taken, go_on;
  EventLog::Options options = written.Options(LogFormat::kJson);
  options.max_queued = 2;
  options.write = [&, first = true](absl::string_view line) mutable {
    if (std::exchange(first, false)) {
      taken.Notify();
      go_on.WaitForNotification();
    }
    absl::StrAppend(&written.text, line);
  };
  EventLog log(options);
  log.Write(LogLevel::kInfo, "taken");
  taken.WaitForNotification();
  for (int i = 0; i < 5; ++i) log.Write(LogLevel::kInfo, "more");
  go_on.Notify();
  log.Flush();
  EXPECT_THAT(written.lines(),
              ElementsAre(HasSubstr("taken"), HasSubstr("more"), HasSubstr("more"),
                          AllOf(HasSubstr("log_lines_dropped"), HasSubstr("\"lines\":3"))));
}

TEST(EventLogTest, TheEndWritesWhatWaits) {
  Written written;
  {
    EventLog log(written.Options(LogFormat::kText));
    for (int i = 0; i < 100; ++i) log.Write(LogLevel::kInfo, "event");
  }
  EXPECT_THAT(written.lines(), SizeIs(100));
}

TEST(EventLogTest, LevelsHaveNames) {
  for (const std::string& name : LogLevelNames()) {
    AMEND_ASSERT_OK_AND_ASSIGN(const LogLevel level, ParseLogLevel(name));
    EXPECT_EQ(LogLevelName(level), name);
  }
  EXPECT_THAT(ParseLogLevel("loud"), StatusIs(absl::StatusCode::kInvalidArgument,
                                              AllOf(HasSubstr("loud"), HasSubstr("warning"))));
}

}  // namespace
}  // namespace amend
