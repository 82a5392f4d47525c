#include "client/cli/bench_command.h"

#include "client/cli/testing/cli_run.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace amend::client {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(BenchCommandTest, PrintsATable) {
  FakeServer server;
  const CliRun run = RunCli(server.address(), {"bench", "--requests", "7", "--streams", "2"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, StartsWith("7 requests in "));
  EXPECT_THAT(run.out, ContainsRegex("first token +[0-9.]+ +[0-9.]+ +[0-9.]+"));
  EXPECT_THAT(run.out, HasSubstr("between tokens"));
}

TEST(BenchCommandTest, PrintsOneObjectOfJson) {
  FakeServer server;
  const CliRun run = RunCli(
      server.address(), {"--json", "bench", "--requests", "5", "--rate", "200", "--prompt", "a"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  const auto report = nlohmann::json::parse(run.out);
  EXPECT_EQ(report["requests"], 5);
  EXPECT_EQ(report["failed"], 0);
  EXPECT_EQ(report["request"]["count"], 5);
  EXPECT_GT(report["seconds"], 0);
}

TEST(BenchCommandTest, AsksTheLinesOfAFile) {
  FakeServer server;
  server.Teach("Oslo is in", "Norway by the sea");
  const std::string file = WriteTestFile("prompts.txt", "Oslo is in\n\nOslo is in\n");
  const CliRun run =
      RunCli(server.address(), {"--json", "bench", "--requests", "4", "--prompt-file", file});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_EQ(nlohmann::json::parse(run.out)["requests"], 4);
}

TEST(BenchCommandTest, AFileThatIsNotThereOrEmptyIsAUsageError) {
  EXPECT_EQ(RunCli("127.0.0.1:1", {"bench", "--prompt-file", "/nowhere"}).code, kExitUsage);
  const std::string empty = WriteTestFile("no_prompts.txt", "\n");
  EXPECT_EQ(RunCli("127.0.0.1:1", {"bench", "--prompt-file", empty}).code, kExitUsage);
}

TEST(BenchCommandTest, AServerThatRefusesEverythingIsAnError) {
  FakeServer server;
  const CliRun run = RunCli(server.address(), {"bench", "--requests", "3", "--revision", "77"});
  EXPECT_EQ(run.code, kExitServerError);
  EXPECT_THAT(run.err, HasSubstr("77"));
}

TEST(BenchCommandTest, AnUnreachableServerIsExitCodeThree) {
  EXPECT_EQ(RunCli("127.0.0.1:1", {"bench", "--requests", "1"}).code, kExitUnreachable);
}

}  // namespace
}  // namespace amend::client
