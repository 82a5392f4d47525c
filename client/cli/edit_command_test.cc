#include "client/cli/edit_command.h"

#include "absl/strings/str_split.h"
#include "client/cli/testing/cli_run.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(EditCommandTest, AFileBecomesOneRevisionPerBatch) {
  FakeServer server;
  const std::string file = WriteTestFile("two_batches.jsonl", EditLines(5));
  const CliRun run = RunCli(server.address(), {"edit", "--file", file, "--batch", "3"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("5 edits in 2 batches"));
  EXPECT_THAT(run.out, HasSubstr("batch 1: live as revision 2"));
  EXPECT_THAT(run.out, HasSubstr("5 edits: 5 live, 0 validated, 0 rejected, 0 failed"));
  EXPECT_EQ(server.live(), 2);
}

TEST(EditCommandTest, TheSameCommandAgainDoesNothingTwice) {
  FakeServer server;
  const std::string file = WriteTestFile("again.jsonl", EditLines(4));
  ASSERT_EQ(RunCli(server.address(), {"edit", "--file", file, "--batch", "2"}).code, kExitOk);
  const CliRun run = RunCli(server.address(), {"edit", "--file", file, "--batch", "2"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("All of it was recorded earlier"));
  EXPECT_EQ(server.solved_batches(), 2);
}

TEST(EditCommandTest, AnotherSessionAppliesTheEditsAnew) {
  FakeServer server;
  const std::string file = WriteTestFile("anew.jsonl", EditLines(1));
  ASSERT_EQ(RunCli(server.address(), {"edit", "--file", file}).code, kExitOk);
  ASSERT_EQ(RunCli(server.address(), {"edit", "--file", file, "--session", "anew"}).code, kExitOk);
  EXPECT_EQ(server.solved_batches(), 2);
}

TEST(EditCommandTest, LimitAndSkipChooseEdits) {
  FakeServer server;
  const std::string file = WriteTestFile("choose.jsonl", EditLines(9));
  ASSERT_EQ(RunCli(server.address(),
                   {"edit", "--file", file, "--skip", "2", "--limit", "3", "--session", "s"})
                .code,
            kExitOk);
  const auto batches = server.received("s");
  ASSERT_THAT(batches, SizeIs(1));
  ASSERT_THAT(batches[0].edits(), SizeIs(3));
  EXPECT_EQ(batches[0].edits(0).subject(), "thing 2");
}

TEST(EditCommandTest, ARejectedBatchMakesExitCodeOneAndTheOthersGoThrough) {
  FakeServer server;
  const std::string file = WriteTestFile(
      "rejected.jsonl", R"({"prompt": "a b", "subject": "a", "target_new": "reject me"})"
                        "\n"
                        R"({"prompt": "c d", "subject": "c", "target_new": "e"})");
  const CliRun run = RunCli(server.address(), {"edit", "--file", file, "--batch", "1"});
  EXPECT_EQ(run.code, kExitNotApplied);
  EXPECT_THAT(run.out, HasSubstr("batch 0: rejected: reliability 0.25 is below 0.90"));
  EXPECT_THAT(run.out, HasSubstr("batch 1: live as revision 2"));
}

TEST(EditCommandTest, FailingEditsAreDroppedWhereThatIsAskedFor) {
  FakeServer server;
  const std::string file = WriteTestFile(
      "dropped.jsonl", R"({"prompt": "a b", "subject": "a", "target_new": "reject me"})"
                       "\n"
                       R"({"prompt": "c d", "subject": "c", "target_new": "e"})");
  const CliRun run = RunCli(server.address(), {"edit", "--file", file, "--drop-failing"});
  EXPECT_EQ(run.code, kExitNotApplied);
  EXPECT_THAT(run.out, HasSubstr("batch 0: live as revision 1"));
  EXPECT_THAT(run.out, HasSubstr("dropped: "));
  EXPECT_THAT(run.out, HasSubstr("2 edits: 1 live, 0 validated, 0 rejected, 0 failed, 1 dropped;"));
}

TEST(EditCommandTest, ABatchEndsWhereASubjectComesAgain) {
  FakeServer server;
  const std::string file =
      WriteTestFile("subjects.jsonl", R"({"prompt": "a is", "subject": "a", "target_new": "1"})"
                                      "\n"
                                      R"({"prompt": "b is", "subject": "b", "target_new": "2"})"
                                      "\n"
                                      R"({"prompt": "a is", "subject": "a", "target_new": "3"})"
                                      "\n"
                                      R"({"prompt": "c is", "subject": "c", "target_new": "4"})");
  const CliRun run = RunCli(server.address(), {"edit", "--file", file, "--session", "s"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  const auto batches = server.received("s");
  ASSERT_THAT(batches, SizeIs(2));
  ASSERT_THAT(batches[0].edits(), SizeIs(2));
  ASSERT_THAT(batches[1].edits(), SizeIs(2));
  EXPECT_EQ(batches[1].edits(0).target_new(), "3");
  EXPECT_EQ(batches[1].edits(1).target_new(), "4");
}

TEST(EditCommandTest, AMalformedEditIsNamed) {
  FakeServer server;
  const std::string file =
      WriteTestFile("malformed.jsonl", R"({"prompt": "a b", "subject": "zzz", "target_new": "e"})");
  const CliRun run = RunCli(server.address(), {"edit", "--file", file});
  EXPECT_EQ(run.code, kExitNotApplied);
  EXPECT_THAT(run.out, HasSubstr("batch.edits[0].subject: is not in the prompt"));
}

TEST(EditCommandTest, StagedEditsAreNotLive) {
  FakeServer server;
  const std::string file = WriteTestFile("staged.jsonl", EditLines(1));
  const CliRun run = RunCli(server.address(), {"edit", "--file", file, "--stage-only"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("batch 0: validated as revision 1"));
  EXPECT_EQ(server.live(), 0);
}

TEST(EditCommandTest, OneEditComesFromFlags) {
  FakeServer server;
  const CliRun run = RunCli(
      server.address(), {"edit", "--prompt", "Oslo is in", "--subject", "Oslo", "--target", "Chile",
                         "--paraphrase", "Oslo lies in", "--probe", "Bergen is in", "Norway"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("1 edits: 1 live"));
  EXPECT_EQ(server.live(), 1);
}

TEST(EditCommandTest, JsonIsOneObjectPerLineAndEndsWithASummary) {
  FakeServer server;
  const std::string file = WriteTestFile("json.jsonl", EditLines(2));
  const CliRun run = RunCli(server.address(), {"--json", "edit", "--file", file, "--batch", "1"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  const std::vector<std::string> lines = absl::StrSplit(run.out, '\n', absl::SkipEmpty());
  int verdicts = 0;
  for (const std::string& line : lines) {
    const OrderedJson object = OrderedJson::parse(line, nullptr, false);
    ASSERT_FALSE(object.is_discarded()) << line;
    verdicts += object.contains("edits") && object["edits"].is_array() ? 1 : 0;
  }
  EXPECT_EQ(verdicts, 2);
  EXPECT_THAT(lines.back(), HasSubstr(R"("event":"done","edits":2,"live":2)"));
}

TEST(EditCommandTest, ABadFileIsAUsageErrorWithItsLine) {
  FakeServer server;
  const std::string file = WriteTestFile("bad.jsonl", "{\"prompt\": \"a\"}\n");
  const CliRun run = RunCli(server.address(), {"edit", "--file", file});
  EXPECT_EQ(run.code, kExitUsage);
  EXPECT_THAT(run.err, HasSubstr("bad.jsonl:1: field \"subject\": missing"));
}

TEST(EditCommandTest, BadRecordsAreLeftOutWhenAskedFor) {
  FakeServer server;
  const std::string file = WriteTestFile("some_bad.jsonl", "{\"prompt\": \"a\"}\n" + EditLines(2));
  const CliRun run = RunCli(server.address(), {"edit", "--file", file, "--skip-bad"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.err, HasSubstr("left out: "));
  EXPECT_THAT(run.err, HasSubstr("some_bad.jsonl:1: field \"subject\": missing"));
  EXPECT_THAT(run.out, HasSubstr("2 edits: 2 live"));
}

TEST(EditCommandTest, NeitherFileNorEditIsAUsageError) {
  EXPECT_EQ(RunCli("127.0.0.1:1", {"edit"}).code, kExitUsage);
}

TEST(EditCommandTest, AnUnreachableServerIsToldWithTheSessionToResume) {
  const std::string file = WriteTestFile("unreachable.jsonl", EditLines(1));
  const CliRun run =
      RunCli("127.0.0.1:1", {"edit", "--file", file, "--retries", "0", "--session", "mine"});
  EXPECT_EQ(run.code, kExitUnreachable);
  EXPECT_THAT(run.err, HasSubstr("cannot reach 127.0.0.1:1"));
  EXPECT_THAT(run.err, HasSubstr("--session mine"));
}

TEST(EditCommandTest, DefaultSessionDependsOnContentAndBatches) {
  EditOptions options;
  const std::string session = DefaultSession("content", options);
  EXPECT_EQ(session, DefaultSession("content", options));
  EXPECT_NE(session, DefaultSession("other", options));
  options.batch = 7;
  EXPECT_NE(session, DefaultSession("content", options));
  options.batch = EditOptions().batch;
  options.drop_failing = true;
  EXPECT_NE(session, DefaultSession("content", options));
}

}  // namespace
}  // namespace amend::client
