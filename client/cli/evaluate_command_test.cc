#include "client/cli/evaluate_command.h"

#include "client/cli/testing/cli_run.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

TEST(EvaluateCommandTest, PrintsATableAtTheLiveRevision) {
  FakeServer server;
  const std::string file = WriteTestFile("evaluate.jsonl", EditLines(4));
  ASSERT_EQ(RunCli(server.address(), {"edit", "--file", file, "--limit", "3"}).code, kExitOk);
  const CliRun run = RunCli(server.address(), {"evaluate", "--file", file});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("revision 1, locality against revision 0"));
  EXPECT_THAT(run.out, ContainsRegex("reliability +75.0 % +4 records"));
  EXPECT_THAT(run.out, ContainsRegex("generality +- +0 records"));
  EXPECT_THAT(run.out, ContainsRegex("exact match, decoding +75.0 % +4 records"));
}

TEST(EvaluateCommandTest, LimitSkipAndRevisionAreObeyed) {
  FakeServer server;
  const std::string file = WriteTestFile("evaluate_some.jsonl", EditLines(4));
  ASSERT_EQ(RunCli(server.address(), {"edit", "--file", file, "--skip", "2"}).code, kExitOk);
  EXPECT_THAT(RunCli(server.address(), {"--json", "evaluate", "--file", file, "--skip", "2"}).out,
              HasSubstr(R"("reliability":{"mean":1.0,"records":2})"));
  EXPECT_THAT(RunCli(server.address(), {"--json", "evaluate", "--file", file, "--limit", "1"}).out,
              HasSubstr(R"("reliability":{"mean":0.0,"records":1})"));
  EXPECT_THAT(
      RunCli(server.address(), {"--json", "evaluate", "--file", file, "--revision", "0"}).out,
      HasSubstr(R"("reliability":{"mean":0.0,"records":4})"));
}

TEST(EvaluateCommandTest, AFileWithoutRecordsIsAUsageError) {
  const std::string file = WriteTestFile("empty.jsonl", "\n");
  EXPECT_EQ(RunCli("127.0.0.1:1", {"evaluate", "--file", file}).code, kExitUsage);
}

TEST(EvaluateCommandTest, AnUnreachableServerIsExitCodeThree) {
  const std::string file = WriteTestFile("unreachable_evaluate.jsonl", EditLines(1));
  EXPECT_EQ(RunCli("127.0.0.1:1", {"evaluate", "--file", file}).code, kExitUnreachable);
}

}  // namespace
}  // namespace amend::client
