#include "server/store_log.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class StoreLogTest : public ::testing::Test {
 protected:
  // What is written at this level of a batch.
  std::string TextOf(const LedgerEntry& entry, LogLevel level, const std::string& trace_id = "") {
    return Text(level, [&](EventLog* log) { LogBatch(entry, trace_id, log); });
  }
  std::string TextOf(const AuditRecord& record, LogLevel level) {
    return Text(level, [&](EventLog* log) { LogAudit(record, log); });
  }
  template <typename Write>
  std::string Text(LogLevel level, const Write& write) {
    std::string text;
    EventLog::Options options;
    options.level = level;
    options.write = [&](absl::string_view line) { absl::StrAppend(&text, line); };
    {
      EventLog log(options);
      write(&log);
    }
    return text;
  }
  static LedgerEntry Finished(BatchState state) {
    LedgerEntry entry;
    entry.key = {"s", 7};
    entry.edits.resize(2);
    entry.edits[0].prompt = "The secret prompt of";
    entry.edits[0].target_new = "a secret target";
    entry.state = state;
    entry.revision = Revision(3);
    entry.receive_time_us = 1000000;
    entry.finish_time_us = 3500000;
    return entry;
  }
};

TEST_F(StoreLogTest, AnOutcomeHasTheBatchTheRevisionAndTheGatesScores) {
  LedgerEntry entry = Finished(BatchState::kRejected);
  entry.gate.emplace();
  entry.gate->scores.reliability = 0.25;
  EXPECT_EQ(TextOf(entry, LogLevel::kInfo),
            "amendd: batch finished: session=s offset=7 edits=2 outcome=rejected revision=3 "
            "reliability=0.25 seconds=2.5\n");
}

TEST_F(StoreLogTest, ABatchsLinesHaveTheTraceThatItCameWith) {
  EXPECT_THAT(TextOf(Finished(BatchState::kLive), LogLevel::kInfo, "4bf9"),
              HasSubstr("batch finished: trace_id=4bf9 session=s"));
  EXPECT_THAT(TextOf(Finished(BatchState::kDurable), LogLevel::kDebug, "4bf9"),
              HasSubstr("batch durable: trace_id=4bf9 session=s"));
  EXPECT_THAT(TextOf(Finished(BatchState::kLive), LogLevel::kInfo), Not(HasSubstr("trace_id")));
}

TEST_F(StoreLogTest, AFailureHasItsReasonAndItsMessageForDebuggingAlone) {
  LedgerEntry entry = Finished(BatchState::kFailed);
  entry.error_code = absl::StatusCode::kInvalidArgument;
  entry.error_reason = "EDIT_INVALID";
  entry.error_message = "the secret is malformed";
  EXPECT_THAT(
      TextOf(entry, LogLevel::kInfo),
      AllOf(HasSubstr("code=INVALID_ARGUMENT reason=EDIT_INVALID"), Not(HasSubstr("secret"))));
  EXPECT_THAT(TextOf(entry, LogLevel::kDebug), HasSubstr("the secret is malformed"));
}

TEST_F(StoreLogTest, WhatWentWellIsNoWarningAndADurableBatchIsForDebugging) {
  EXPECT_EQ(TextOf(Finished(BatchState::kLive), LogLevel::kWarning), "");
  EXPECT_THAT(TextOf(Finished(BatchState::kLive), LogLevel::kInfo), HasSubstr("outcome=live"));
  EXPECT_THAT(TextOf(Finished(BatchState::kFailed), LogLevel::kWarning),
              HasSubstr("outcome=failed"));
  EXPECT_EQ(TextOf(Finished(BatchState::kDurable), LogLevel::kInfo), "");
  EXPECT_THAT(TextOf(Finished(BatchState::kDurable), LogLevel::kDebug),
              HasSubstr("batch durable: session=s offset=7 edits=2"));
}

TEST_F(StoreLogTest, AnAuditRecordHasItsReasonForDebuggingAlone) {
  AuditRecord record;
  record.actor = "ipv4:127.0.0.1:5";
  record.verb = "rollback";
  record.label = "live";
  record.from = Revision(3);
  record.to = Revision(1);
  record.reason = "a secret";
  EXPECT_EQ(TextOf(record, LogLevel::kInfo),
            "amendd: audit: verb=rollback actor=ipv4:127.0.0.1:5 label=live from=3 to=1\n");
  EXPECT_THAT(TextOf(record, LogLevel::kDebug), HasSubstr("a secret"));
}

}  // namespace
}  // namespace amend
