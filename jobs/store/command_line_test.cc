#include "jobs/store/command_line.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::jobs {
namespace {

using testing::HasSubstr;

StoreCommandLine Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "amend-store");
  return ParseStoreCommandLine(static_cast<int>(arguments.size()), arguments.data());
}

TEST(StoreCommandLineTest, Verify) {
  const StoreCommandLine line = Parse({"verify", "--data", "d", "--json"});
  EXPECT_FALSE(line.exit_code.has_value()) << line.message;
  EXPECT_EQ(line.command, StoreCommandLine::Command::kVerify);
  EXPECT_EQ(line.data_directory, "d");
  EXPECT_TRUE(line.json);
}

TEST(StoreCommandLineTest, Backups) {
  const StoreCommandLine line = Parse({"backups", "--from", "b"});
  EXPECT_EQ(line.command, StoreCommandLine::Command::kBackups);
  EXPECT_EQ(line.backup_directory, "b");
}

TEST(StoreCommandLineTest, Restore) {
  const StoreCommandLine newest = Parse({"restore", "--from", "b", "--to", "d"});
  EXPECT_EQ(newest.command, StoreCommandLine::Command::kRestore);
  EXPECT_EQ(newest.backup, 0);
  EXPECT_EQ(newest.target, "d");
  EXPECT_EQ(Parse({"restore", "--from", "b", "--to", "d", "--backup", "3"}).backup, 3);
}

TEST(StoreCommandLineTest, WrongFlagsAreTwoAndOneLine) {
  for (const auto& arguments : std::vector<std::vector<const char*>>{
           {},
           {"frobnicate"},
           {"verify"},
           {"restore", "--from", "b"},
           {"restore", "--to", "d"},
           {"restore", "--from", "b", "--to", "d", "--backup", "0"},
           {"restore", "--from", "b", "--to", "d", "--backup", "x"}}) {
    const StoreCommandLine line = Parse(arguments);
    EXPECT_EQ(line.exit_code, 2);
    EXPECT_THAT(line.message, HasSubstr("amend store: "));
    EXPECT_EQ(line.message.find('\n'), std::string::npos);
  }
}

TEST(StoreCommandLineTest, HelpIsZero) {
  const StoreCommandLine line = Parse({"restore", "--help"});
  EXPECT_EQ(line.exit_code, 0);
  EXPECT_THAT(line.message, HasSubstr("--backup"));
}

}  // namespace
}  // namespace amend::jobs
