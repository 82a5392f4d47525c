#include "jobs/command_line.h"

#include <initializer_list>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::jobs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

CommandLine Parse(std::initializer_list<const char*> arguments) {
  std::vector<const char*> argv = {"amend-covariance"};
  argv.insert(argv.end(), arguments);
  return ParseCommandLine(static_cast<int>(argv.size()), argv.data());
}

TEST(CommandLineTest, ComputeTakesItsFlags) {
  const CommandLine line =
      Parse({"compute", "--model",   "m",           "--text",       "t",    "--out",
             "o",       "--layers",  "3,4",         "--tokens",     "5000", "--max-tokens-per-text",
             "100",     "--dtype",   "bfloat16",    "--threads",    "2",    "--checkpoint-seconds",
             "1.5",     "--restart", "--overwrite", "--no-settling"});
  ASSERT_FALSE(line.exit_code.has_value()) << line.message;
  EXPECT_EQ(line.command, CommandLine::Command::kCompute);
  EXPECT_EQ(line.compute.model_directory, "m");
  EXPECT_EQ(line.compute.text_file, "t");
  EXPECT_EQ(line.compute.out_file, "o");
  EXPECT_THAT(line.compute.layers, ElementsAre(3, 4));
  EXPECT_EQ(line.compute.max_tokens, 5000);
  EXPECT_EQ(line.compute.max_tokens_per_text, 100);
  EXPECT_EQ(line.compute.dtype, "bfloat16");
  EXPECT_EQ(line.compute.threads, 2);
  EXPECT_EQ(line.compute.checkpoint_seconds, 1.5);
  EXPECT_TRUE(line.compute.restart);
  EXPECT_TRUE(line.compute.overwrite);
  EXPECT_TRUE(line.compute.no_settling);
}

TEST(CommandLineTest, ImportTakesSeveralFiles) {
  const CommandLine line =
      Parse({"import", "--model", "m", "--npz", "a.npz", "4=b.npz", "--out", "o"});
  ASSERT_FALSE(line.exit_code.has_value()) << line.message;
  EXPECT_EQ(line.command, CommandLine::Command::kImport);
  EXPECT_THAT(line.import.npz_files, ElementsAre("a.npz", "4=b.npz"));
}

TEST(CommandLineTest, WrongFlagsNameTheFlag) {
  const auto expect_wrong = [](std::initializer_list<const char*> more, const char* name) {
    std::vector<const char*> argv = {"amend-covariance", "compute", "--model", "m",
                                     "--text",           "t",       "--out",   "o"};
    argv.insert(argv.end(), more);
    const CommandLine line = ParseCommandLine(static_cast<int>(argv.size()), argv.data());
    EXPECT_EQ(line.exit_code, 2) << name;
    EXPECT_THAT(line.message, HasSubstr(name));
  };
  expect_wrong({"--tokens", "0"}, "--tokens");
  expect_wrong({"--tokens", "-5"}, "--tokens");
  expect_wrong({"--tokens", "many"}, "--tokens");
  expect_wrong({"--max-tokens-per-text", "0"}, "--max-tokens-per-text");
  expect_wrong({"--dtype", "int8"}, "--dtype");
  expect_wrong({"--threads", "-1"}, "--threads");
  expect_wrong({"--layers", "1,x"}, "--layers");
  expect_wrong({"--layers", "1", "--profile", "p"}, "--profile");
  expect_wrong({"--frobnicate"}, "--frobnicate");
}

TEST(CommandLineTest, RequiredFlagsAreNamed) {
  EXPECT_EQ(Parse({}).exit_code, 2);
  EXPECT_THAT(Parse({"compute", "--text", "t", "--out", "o"}).message, HasSubstr("--model"));
  EXPECT_THAT(Parse({"compute", "--model", "m", "--out", "o"}).message, HasSubstr("--text"));
  EXPECT_THAT(Parse({"compute", "--model", "m", "--text", "t"}).message, HasSubstr("--out"));
  EXPECT_THAT(Parse({"import", "--model", "m", "--out", "o"}).message, HasSubstr("--npz"));
}

TEST(CommandLineTest, HelpTellsTheExitCodes) {
  const CommandLine line = Parse({"compute", "--help"});
  EXPECT_EQ(line.exit_code, 0);
  EXPECT_THAT(line.message, HasSubstr("130 or 143"));
  EXPECT_THAT(Parse({"--help"}).message, HasSubstr("import"));
}

}  // namespace
}  // namespace amend::jobs
