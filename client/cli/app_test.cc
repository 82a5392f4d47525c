#include "client/cli/app.h"

#include <cstdlib>
#include <sstream>

#include "client/cli/command.h"
#include "client/cli/testing/cli_run.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::HasSubstr;

TEST(AppTest, HelpDocumentsTheExitCodes) {
  const CliRun run = RunCli("127.0.0.1:1", {"--help"});
  EXPECT_EQ(run.code, kExitOk);
  EXPECT_THAT(run.out, HasSubstr("3 the server cannot be reached"));
}

TEST(AppTest, HelpOfEditTellsTheDefaultSession) {
  EXPECT_THAT(RunCli("127.0.0.1:1", {"edit", "--help"}).out, HasSubstr("default session"));
}

TEST(AppTest, WrongFlagsAreAUsageError) {
  EXPECT_EQ(RunCli("127.0.0.1:1", {"status", "--frobnicate"}).code, kExitUsage);
  EXPECT_EQ(RunCli("127.0.0.1:1", {"frobnicate"}).code, kExitUsage);
  EXPECT_EQ(RunCli("127.0.0.1:1", {}).code, kExitUsage);
}

TEST(AppTest, GlobalFlagsMayFollowTheCommand) {
  FakeServer server;
  EXPECT_EQ(RunCli("127.0.0.1:1", {"status", "--server", server.address()}).code, kExitUsage)
      << "the server is given twice";
  const std::vector<const char*> argv = {"amend", "status", "--server", server.address().c_str()};
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(RunApp(argv.size(), argv.data(), &out, &err, false), kExitOk) << err.str();
}

TEST(AppTest, TheServerMayComeFromTheEnvironment) {
  FakeServer server;
  setenv("AMEND_SERVER", server.address().c_str(), 1);
  const std::vector<const char*> argv = {"amend", "status"};
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(RunApp(argv.size(), argv.data(), &out, &err, false), kExitOk) << err.str();
  unsetenv("AMEND_SERVER");
}

TEST(AppTest, CredentialsThatCannotBeReadAreAUsageError) {
  const CliRun run = RunCli("127.0.0.1:1", {"--token-file", "/no/such/token", "status"});
  EXPECT_EQ(run.code, kExitUsage);
  EXPECT_THAT(run.err, HasSubstr("--token-file /no/such/token"));
}

TEST(AppTest, ATokenIsNotSentToAnotherMachineInClearText) {
  setenv("AMEND_TOKEN_FILE", "/proc/version", 1);
  const CliRun run = RunCli("amend.example.org:1", {"status"});
  unsetenv("AMEND_TOKEN_FILE");
  EXPECT_EQ(run.code, kExitUsage);
  EXPECT_THAT(run.err, HasSubstr("in clear text"));
}

TEST(AppTest, AnUnreachableServerIsExitCodeThree) {
  const CliRun run = RunCli("127.0.0.1:1", {"status"});
  EXPECT_EQ(run.code, kExitUnreachable);
  EXPECT_THAT(run.err, HasSubstr("cannot reach 127.0.0.1:1"));
}

}  // namespace
}  // namespace amend::client
