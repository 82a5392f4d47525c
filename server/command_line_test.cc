#include "server/command_line.h"

#include <fstream>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/version.h"

namespace amend {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

CommandLine Parse(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "amendd");
  return ParseCommandLine(static_cast<int>(flags.size()), flags.data());
}

TEST(CommandLineTest, FlagsFillTheSecurityOptions) {
  const CommandLine line = Parse({"--model", "m", "--data", "d", "--tls-cert", "cert", "--tls-key",
                                  "key", "--tls-client-ca", "ca", "--tls-client-cert-optional",
                                  "--policy", "policy", "--admin-listen", "127.0.0.1:3",
                                  "--allow-insecure", "--security-reload-seconds", "0.5"});
  ASSERT_FALSE(line.exit_code.has_value()) << line.message;
  const SecurityOptions& security = line.options.security;
  EXPECT_EQ(security.tls_certificate_file, "cert");
  EXPECT_EQ(security.tls_key_file, "key");
  EXPECT_EQ(security.tls_client_ca_file, "ca");
  EXPECT_TRUE(security.client_certificate_optional);
  EXPECT_EQ(security.policy_file, "policy");
  EXPECT_EQ(security.admin_address, "127.0.0.1:3");
  EXPECT_TRUE(security.allow_insecure);
  EXPECT_EQ(security.reload_interval, absl::Milliseconds(500));
}

TEST(CommandLineTest, NobodyIsLetInUnlessSaid) {
  const SecurityOptions security = Parse({"--model", "m", "--data", "d"}).options.security;
  EXPECT_FALSE(security.allow_insecure);
  EXPECT_FALSE(security.client_certificate_optional);
  EXPECT_EQ(security.reload_interval, absl::Seconds(5));
}

TEST(CommandLineTest, FlagsFillTheOptions) {
  const CommandLine line =
      Parse({"--model",          "m",         "--data",          "d",
             "--profile",        "p",         "--listen",        "0.0.0.0:1",
             "--http",           "0.0.0.0:2", "--device",        "cpu",
             "--dtype",          "bfloat16",  "--threads",       "3",
             "--decode-threads", "5",         "--drain-seconds", "2.5",
             "--kv-cache-mib",   "96",        "--backup-dir",    "b",
             "--backups-kept",   "3",         "--cuda-graphs",   "--serve-intact-ancestor"});
  ASSERT_FALSE(line.exit_code.has_value()) << line.message;
  EXPECT_EQ(line.options.model_directory, "m");
  EXPECT_TRUE(line.options.cuda_graphs);
  EXPECT_EQ(line.options.data_directory, "d");
  EXPECT_TRUE(line.options.serve_intact_ancestor);
  EXPECT_EQ(line.options.profile_file, "p");
  EXPECT_EQ(line.options.grpc_address, "0.0.0.0:1");
  EXPECT_EQ(line.options.http_address, "0.0.0.0:2");
  EXPECT_EQ(line.options.device, "cpu");
  EXPECT_EQ(line.options.dtype, "bfloat16");
  EXPECT_EQ(line.options.threads, 3);
  EXPECT_EQ(line.options.decode_threads, 5);
  EXPECT_EQ(line.options.kv_cache_mib, 96);
  EXPECT_EQ(line.options.backup_directory, "b");
  EXPECT_EQ(line.options.backups_kept, 3);
  EXPECT_EQ(line.options.drain_time, absl::Seconds(2.5));
}

TEST(CommandLineTest, WhatIsNotGivenHasItsDefault) {
  const CommandLine line = Parse({"--model", "m", "--data", "d"});
  ASSERT_FALSE(line.exit_code.has_value()) << line.message;
  EXPECT_EQ(line.options.grpc_address, "127.0.0.1:50051");
  EXPECT_EQ(line.options.http_address, "127.0.0.1:9464");
  EXPECT_EQ(line.options.device, "auto");
  EXPECT_EQ(line.options.dtype, "float32");
  EXPECT_EQ(line.options.drain_time, absl::Seconds(10));
  EXPECT_EQ(line.options.backup_directory, "");
  EXPECT_EQ(line.options.backups_kept, 7);
}

TEST(CommandLineTest, AMissingModelIsAWrongFlag) {
  const CommandLine line = Parse({"--data", "d"});
  EXPECT_EQ(line.exit_code, 2);
  EXPECT_THAT(line.message, HasSubstr("--model is required"));
}

TEST(CommandLineTest, AnUnknownFlagIsNamedOnOneLine) {
  const CommandLine line = Parse({"--model", "m", "--data", "d", "--modle", "x"});
  EXPECT_EQ(line.exit_code, 2);
  EXPECT_THAT(line.message, HasSubstr("--modle"));
  EXPECT_THAT(line.message, Not(HasSubstr("\n")));
}

TEST(CommandLineTest, AMisspeltRequiredFlagIsNamedRatherThanTheMissingOne) {
  const CommandLine line = Parse({"--modle", "m", "--data", "d"});
  EXPECT_EQ(line.exit_code, 2);
  EXPECT_THAT(line.message, HasSubstr("--modle"));
}

TEST(CommandLineTest, AValueThatIsNotAllowedIsNamed) {
  const CommandLine line = Parse({"--model", "m", "--data", "d", "--device", "tpu"});
  EXPECT_EQ(line.exit_code, 2);
  EXPECT_THAT(line.message, HasSubstr("tpu"));
}

TEST(CommandLineTest, HelpAndVersionSucceed) {
  EXPECT_EQ(Parse({"--help"}).exit_code, 0);
  EXPECT_THAT(Parse({"--help"}).message, HasSubstr("--listen"));
  EXPECT_EQ(Parse({"--version"}).exit_code, 0);
  EXPECT_THAT(Parse({"--version"}).message, HasSubstr(kVersion));
}

TEST(CommandLineTest, AFileFillsInWhatFlagsDoNotSay) {
  const std::string path = ::testing::TempDir() + "/amendd.conf";
  std::ofstream(path) << "model: \"m\" data: \"d\" listen: \"127.0.0.1:7\" threads: 2";
  const CommandLine line = Parse({"--config", path.c_str(), "--threads", "4"});
  ASSERT_FALSE(line.exit_code.has_value()) << line.message;
  EXPECT_EQ(line.options.model_directory, "m");
  EXPECT_EQ(line.options.grpc_address, "127.0.0.1:7");
  EXPECT_EQ(line.options.threads, 4);
}

TEST(CommandLineTest, AFlagThatSaysTheDefaultWinsOverTheFileToo) {
  const std::string path = ::testing::TempDir() + "/amendd.conf";
  std::ofstream(path) << "model: \"m\" data: \"d\" device: \"cpu\" serve_intact_ancestor: true";
  const CommandLine line =
      Parse({"--config", path.c_str(), "--device", "auto", "--serve-intact-ancestor=false"});
  ASSERT_FALSE(line.exit_code.has_value()) << line.message;
  EXPECT_EQ(line.options.device, "auto");
  EXPECT_FALSE(line.options.serve_intact_ancestor);
}

TEST(CommandLineTest, AProfileOfTheCommandLineTakesThePlaceOfOneInTheFile) {
  const std::string path = ::testing::TempDir() + "/amendd.conf";
  std::ofstream(path) << "model: \"m\" data: \"d\" profile { lambda: 2 }";
  EXPECT_TRUE(Parse({"--config", path.c_str()}).options.profile.has_value());
  const CommandLine line = Parse({"--config", path.c_str(), "--profile", "p"});
  EXPECT_FALSE(line.options.profile.has_value());
  EXPECT_EQ(line.options.profile_file, "p");
}

TEST(CommandLineTest, AMissingFileIsNamed) {
  const CommandLine line = Parse({"--model", "m", "--data", "d", "--config", "/nonexistent.conf"});
  EXPECT_EQ(line.exit_code, 2);
  EXPECT_THAT(line.message, HasSubstr("/nonexistent.conf"));
}

TEST(CommandLineTest, WhatIsWrongInTheFileIsNamedWithItsLine) {
  const std::string path = ::testing::TempDir() + "/wrong.conf";
  std::ofstream(path) << "model: \"m\"\ndata: \"d\"\nlistn: \"127.0.0.1:7\"\n";
  const CommandLine line = Parse({"--config", path.c_str()});
  EXPECT_EQ(line.exit_code, 2);
  EXPECT_THAT(line.message, HasSubstr("wrong.conf: line 3"));
  EXPECT_THAT(line.message, HasSubstr("listn"));
}

TEST(CommandLineTest, ACheckIsAskedForInTwoSpellings) {
  EXPECT_FALSE(Parse({"--model", "m", "--data", "d"}).check_config);
  EXPECT_TRUE(Parse({"--model", "m", "--data", "d", "--check-config"}).check_config);
  EXPECT_TRUE(Parse({"--model", "m", "--data", "d", "--check_config"}).check_config);
}

TEST(CommandLineTest, RetentionFlagsFillThePolicy) {
  const RetentionPolicy kept = Parse({"--model", "m", "--data", "d"}).options.retention;
  EXPECT_EQ(kept.keep_newest, 0);
  EXPECT_EQ(kept.keep_younger, absl::ZeroDuration());
  EXPECT_EQ(kept.purge_delay, absl::Hours(7 * 24));
  const RetentionPolicy policy = Parse({"--model", "m", "--data", "d", "--keep-revisions", "9",
                                        "--keep-seconds", "60", "--purge-delay-seconds", "0.5"})
                                     .options.retention;
  EXPECT_EQ(policy.keep_newest, 9);
  EXPECT_EQ(policy.keep_younger, absl::Seconds(60));
  EXPECT_EQ(policy.purge_delay, absl::Seconds(0.5));
  EXPECT_EQ(Parse({"--model", "m", "--data", "d", "--keep-revisions", "-1"}).exit_code, 2);
}

TEST(CommandLineTest, TheLogIsAsTheOptionsSay) {
  EventLog::Options log = LogOptionsOf(Parse({"--model", "m", "--data", "d"}).options);
  EXPECT_EQ(log.format, LogFormat::kText);
  EXPECT_EQ(log.level, LogLevel::kInfo);
  log = LogOptionsOf(
      Parse({"--model", "m", "--data", "d", "--log-format", "json", "--log-level", "access"})
          .options);
  EXPECT_EQ(log.format, LogFormat::kJson);
  EXPECT_EQ(log.level, LogLevel::kAccess);
  EXPECT_EQ(Parse({"--model", "m", "--data", "d", "--log-level", "loud"}).exit_code, 2);
}

TEST(CommandLineTest, TheOptionsCanBeReadAgain) {
  const std::string path = ::testing::TempDir() + "/reread.conf";
  std::ofstream(path) << "model: \"m\" data: \"d\" threads: 2";
  const std::vector<const char*> flags = {"amendd", "--config", path.c_str()};
  const CommandLine line = ParseCommandLine(static_cast<int>(flags.size()), flags.data());
  EXPECT_EQ(line.options.config_file, path);
  std::ofstream(path) << "model: \"m\" data: \"d\" threads: 3";
  ServerOptions again;
  EXPECT_TRUE(line.options.reread(&again).ok());
  EXPECT_EQ(again.threads, 3);
  std::ofstream(path) << "thread: 4";
  const absl::Status wrong = line.options.reread(&again);
  EXPECT_EQ(wrong.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wrong.message()), HasSubstr("line 1"));
  EXPECT_EQ(again.threads, 3);
}

}  // namespace
}  // namespace amend
