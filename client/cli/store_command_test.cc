#include "client/cli/store_command.h"

#include <string>
#include <vector>

#include "client/cli/testing/cli_run.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

CliRun RunOn(const FakeServer& server, const std::vector<std::string>& arguments) {
  return RunCli(server.address(), arguments);
}

TEST(StoreCommandTest, BackupsAreMadeListedAndDeleted) {
  FakeServer server;
  const CliRun made = RunOn(server, {"store", "backup"});
  EXPECT_EQ(made.code, kExitOk) << made.err;
  EXPECT_EQ(made.out, "backup 1: live revision 0, newest revision 0, 2.5 MB, digest d1ge57\n");
  EXPECT_THAT(RunOn(server, {"--json", "store", "backup"}).out, HasSubstr(R"("backup":2)"));
  EXPECT_THAT(RunOn(server, {"store", "backups"}).out, ContainsRegex("\n +2 .*\n +1 "));
  EXPECT_EQ(RunOn(server, {"store", "delete-backup", "2"}).out, "backup 2 deleted\n");
  EXPECT_THAT(RunOn(server, {"store", "backups"}).out, Not(ContainsRegex("\n +2 ")));
}

TEST(StoreCommandTest, ABackupThatIsNotThereIsAServerError) {
  FakeServer server;
  const CliRun run = RunOn(server, {"store", "delete-backup", "7"});
  EXPECT_EQ(run.code, kExitServerError);
  EXPECT_THAT(run.err, HasSubstr("BACKUP_NOT_FOUND"));
}

TEST(StoreCommandTest, AnIntactStoreIsExitCodeZero) {
  FakeServer server;
  const CliRun run = RunOn(server, {"store", "verify"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("10 records, 4 factor matrices, 2.5 MB"));
  EXPECT_THAT(run.out, HasSubstr("intact"));
}

TEST(StoreCommandTest, DamagesAreNamedWithExitCodeOne) {
  FakeServerOptions options;
  options.damages = 2;
  FakeServer server(options);
  const CliRun run = RunOn(server, {"store", "verify"});
  EXPECT_EQ(run.code, kExitNotApplied);
  EXPECT_THAT(run.out, HasSubstr("damage    factors/1: is damaged"));
  EXPECT_THAT(run.out, HasSubstr("verdict   2 damages"));
  EXPECT_THAT(RunOn(server, {"--json", "store", "verify"}).out,
              HasSubstr(R"("expected_digest":"aa","found_digest":"bb")"));
}

TEST(StoreCommandTest, WhatNeedsNoServerIsAnotherProgram) {
  const auto offline = [](std::vector<const char*> argv) {
    return IsOfflineStoreCommand(static_cast<int>(argv.size()), argv.data());
  };
  EXPECT_TRUE(offline({"amend", "store", "restore"}));
  EXPECT_TRUE(offline({"amend", "store", "verify", "--data", "x"}));
  EXPECT_TRUE(offline({"amend", "store", "verify", "--json", "--data=x"}));
  EXPECT_TRUE(offline({"amend", "store", "backups", "--from", "x"}));
  EXPECT_FALSE(offline({"amend", "store", "verify"}));
  EXPECT_FALSE(offline({"amend", "store", "verify", "--database"}));
  EXPECT_FALSE(offline({"amend", "store", "backup"}));
  EXPECT_FALSE(offline({"amend", "store"}));
  EXPECT_FALSE(offline({"amend", "revisions", "restore"}));
}

TEST(StoreCommandTest, FlagsOfAmendBeforeRestoreAreAUsageError) {
  const CliRun run = RunCli("127.0.0.1:1", {"store", "restore", "--to", "x"});
  EXPECT_EQ(run.code, kExitUsage);
  EXPECT_THAT(run.err, HasSubstr("amend store restore"));
}

TEST(StoreCommandTest, OneCommandIsRequired) {
  EXPECT_EQ(RunCli("127.0.0.1:1", {"store"}).code, kExitUsage);
}

}  // namespace
}  // namespace amend::client
