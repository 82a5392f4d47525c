#include "client/cli/cancel_command.h"

#include "client/cli/testing/cli_run.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::HasSubstr;

TEST(CancelCommandTest, ABatchThatWaitsIsCancelled) {
  FakeServer server;
  server.LeavePending("s", 3);
  const CliRun run = RunCli(server.address(), {"cancel", "s", "3", "--reason", "wrong source"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("session s batch 3: failed: "));
  EXPECT_THAT(run.out, HasSubstr("wrong source"));
}

TEST(CancelCommandTest, ABatchThatIsDoneIsTheServersError) {
  FakeServer server;
  const std::string file = WriteTestFile("done.jsonl", EditLines(1));
  ASSERT_EQ(RunCli(server.address(), {"edit", "--file", file, "--session", "s"}).code, kExitOk);
  const CliRun run = RunCli(server.address(), {"cancel", "s", "0"});
  EXPECT_EQ(run.code, kExitServerError);
  EXPECT_THAT(run.err, HasSubstr("BATCH_CONCLUDED"));
}

TEST(CancelCommandTest, AnUnknownBatchIsTheServersError) {
  FakeServer server;
  EXPECT_EQ(RunCli(server.address(), {"cancel", "s", "0"}).code, kExitServerError);
}

TEST(CancelCommandTest, SessionAndOffsetAreNeeded) {
  EXPECT_EQ(RunCli("127.0.0.1:1", {"cancel", "s"}).code, kExitUsage);
  EXPECT_EQ(RunCli("127.0.0.1:1", {"cancel", "s", "x"}).code, kExitUsage);
}

TEST(CancelCommandTest, JsonIsOneObject) {
  FakeServer server;
  server.LeavePending("s", 0);
  const CliRun run = RunCli(server.address(), {"--json", "cancel", "s", "0"});
  EXPECT_THAT(run.out, HasSubstr(R"({"session":"s","offset":0,"stage":"FAILED"})"));
}

}  // namespace
}  // namespace amend::client
