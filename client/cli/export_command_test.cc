#include "client/cli/export_command.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "client/cli/testing/cli_run.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

namespace fs = std::filesystem;

using ::testing::HasSubstr;

class ExportCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        testing::TempDir() + "/" + testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  CliRun Run(const std::vector<std::string>& arguments) {
    return RunCli(server_.address(), arguments);
  }
  std::string Read(const std::string& name) {
    std::ostringstream bytes;
    bytes << std::ifstream(folder_ + "/" + name).rdbuf();
    return bytes.str();
  }

  std::string folder_;
  FakeServer server_;
};

TEST_F(ExportCommandTest, AFolderIsWritten) {
  const CliRun run = Run({"export", "--out", folder_ + "/out"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("revision 0 exported to " + folder_ + "/out: 2 files"));
  EXPECT_EQ(Read("out/config.json"), "config.json of revision 0");
  EXPECT_EQ(Read("out/model.safetensors"), "model.safetensors of revision 0");
}

TEST_F(ExportCommandTest, ProjectionsAreOneFileAndJsonNamesIt) {
  const CliRun run =
      Run({"--json", "export", "--out", folder_ + "/p", "--projections-only", "--revision", "0"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr(R"("name":"merged_projections.safetensors")"));
  EXPECT_EQ(Read("p"), "merged_projections.safetensors of revision 0");
}

TEST_F(ExportCommandTest, WhatIsThereIsNotReplaced) {
  fs::create_directories(folder_ + "/out/sub");
  EXPECT_EQ(Run({"export", "--out", folder_ + "/out"}).code, kExitUsage);
}

TEST_F(ExportCommandTest, ARevisionThatIsNotThereLeavesNothing) {
  const CliRun run = Run({"export", "--out", folder_ + "/out", "--revision", "7"});
  EXPECT_EQ(run.code, kExitServerError);
  EXPECT_THAT(run.err, HasSubstr("REVISION_NOT_FOUND"));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(ExportCommandTest, BytesThatAreNotWhatTheServerHasLeaveNothing) {
  FakeServerOptions options;
  options.spoil_exports = true;
  FakeServer spoiling(options);
  const CliRun run = RunCli(spoiling.address(), {"export", "--out", folder_ + "/out"});
  EXPECT_EQ(run.code, kExitServerError);
  EXPECT_THAT(run.err, HasSubstr("sha-256"));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(ExportCommandTest, OutIsRequiredAndOneWayToNameTheRevision) {
  EXPECT_EQ(Run({"export"}).code, kExitUsage);
  EXPECT_EQ(Run({"export", "--out", "x", "--revision", "1", "--label", "live"}).code, kExitUsage);
}

}  // namespace
}  // namespace amend::client
