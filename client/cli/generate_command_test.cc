#include "client/cli/generate_command.h"

#include "client/cli/testing/cli_run.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::HasSubstr;

TEST(GenerateCommandTest, PrintsTheContinuationAlone) {
  FakeServer server;
  server.Teach("Oslo is in", "Norway");
  const CliRun run = RunCli(server.address(), {"generate", "Oslo is in", "--max-new-tokens", "1"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_EQ(run.out, "Norway\n");
  EXPECT_THAT(run.err, HasSubstr("revision 0, 1 tokens"));
}

TEST(GenerateCommandTest, StreamedTextIsTheSame) {
  FakeServer server;
  server.Teach("Oslo is in", "Norway by the sea");
  const CliRun whole = RunCli(server.address(), {"generate", "Oslo is in"});
  const CliRun streamed = RunCli(server.address(), {"generate", "Oslo is in", "--stream"});
  EXPECT_EQ(streamed.code, kExitOk) << streamed.err;
  EXPECT_EQ(streamed.out, whole.out);
}

TEST(GenerateCommandTest, AsksTheRevisionThatWasNamed) {
  FakeServer server;
  server.Teach("Oslo is in", "Norway");
  ASSERT_EQ(RunCli(server.address(),
                   {"edit", "--prompt", "Oslo is in", "--subject", "Oslo", "--target", "Chile"})
                .code,
            kExitOk);
  const auto answer = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"generate", "Oslo is in", "--max-new-tokens", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCli(server.address(), arguments).out;
  };
  EXPECT_EQ(answer({}), "Chile\n");
  EXPECT_EQ(answer({"--revision", "0"}), "Norway\n");
  EXPECT_EQ(answer({"--label", "live"}), "Chile\n");
}

TEST(GenerateCommandTest, TracesHooks) {
  FakeServer server;
  ASSERT_EQ(RunCli(server.address(),
                   {"edit", "--prompt", "Oslo is in", "--subject", "Oslo", "--target", "Chile"})
                .code,
            kExitOk);
  for (const char* stream : {"", "--stream"}) {
    std::vector<std::string> arguments = {"generate", "Oslo is in", "--trace-hooks"};
    if (*stream != '\0') arguments.push_back(stream);
    EXPECT_THAT(RunCli(server.address(), arguments).out,
                HasSubstr("token 2 layer 1: edit 1/0 fired at 0.90"));
  }
}

TEST(GenerateCommandTest, JsonHasTextAndRevision) {
  FakeServer server;
  server.Teach("Oslo is in", "Norway");
  const CliRun run =
      RunCli(server.address(), {"generate", "Oslo is in", "--max-new-tokens", "1", "--json"});
  EXPECT_THAT(run.out, HasSubstr(R"("text":" Norway")"));
  EXPECT_THAT(run.out, HasSubstr(R"("revision":0)"));
}

TEST(GenerateCommandTest, UnknownRevisionIsAServerErrorWithItsReason) {
  FakeServer server;
  for (const char* stream : {"", "--stream"}) {
    std::vector<std::string> arguments = {"generate", "x", "--revision", "7"};
    if (*stream != '\0') arguments.push_back(stream);
    const CliRun run = RunCli(server.address(), arguments);
    EXPECT_EQ(run.code, kExitServerError);
    EXPECT_THAT(run.err, HasSubstr("NOT_FOUND (REVISION_NOT_FOUND): revision 7 is unknown"));
  }
}

TEST(GenerateCommandTest, RevisionAndLabelExcludeEachOther) {
  EXPECT_EQ(RunCli("127.0.0.1:1", {"generate", "x", "--revision", "1", "--label", "live"}).code,
            kExitUsage);
}

}  // namespace
}  // namespace amend::client
