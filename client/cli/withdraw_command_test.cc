#include "client/cli/withdraw_command.h"

#include "client/cli/testing/cli_run.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::HasSubstr;

// Revisions 1, 2, ... of two edits each, "thing 0 is -> blue" and so on.
class WithdrawCommandTest : public testing::Test {
 protected:
  void AddEdits(int edits) {
    const std::string file = WriteTestFile("withdraw.jsonl", EditLines(edits));
    ASSERT_EQ(Run({"edit", "--file", file, "--batch", "2"}).code, kExitOk);
  }
  CliRun Run(const std::vector<std::string>& arguments) {
    return RunCli(server_.address(), arguments);
  }
  std::string Answer(const std::string& prompt) {
    return Run({"generate", prompt, "--max-new-tokens", "1"}).out;
  }

  FakeServer server_;
};

TEST_F(WithdrawCommandTest, OneEditGoesAndTheLabelMoves) {
  AddEdits(4);
  const CliRun run = Run({"withdraw", "1:1", "--reason", "wrong"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("without   edit 1 of revision 1: thing 1 is -> blue"));
  EXPECT_THAT(run.out, HasSubstr("revision  3 (validated), on 2, 3 edits in its line"));
  EXPECT_THAT(run.out, HasSubstr("live: revision 3"));
  EXPECT_THAT(Answer("thing 0 is"), HasSubstr("blue"));
  EXPECT_THAT(Answer("thing 1 is"), testing::Not(HasSubstr("blue")));
}

TEST_F(WithdrawCommandTest, ARevisionsNumberAloneMeansAllOfItsEdits) {
  AddEdits(4);
  const CliRun run = Run({"--json", "withdraw", "1", "2:0", "1:0", "--reason", "wrong"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(
      run.out,
      HasSubstr(R"("withdrawn":[{"revision":1,"edit_index":0},{"revision":1,"edit_index":1},)"
                R"({"revision":2,"edit_index":0}])"));
}

TEST_F(WithdrawCommandTest, ADryRunMakesNothing) {
  AddEdits(2);
  const CliRun run = Run({"withdraw", "1:0", "--reason", "wrong", "--dry-run"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("dry run   would be validated, on revision 1"));
  EXPECT_EQ(server_.live(), 1);
}

TEST_F(WithdrawCommandTest, WhatTheGateTurnsDownExitsWithOneAndNamesWhatBreaks) {
  const std::string file =
      WriteTestFile("superseded.jsonl",
                    R"({"prompt": "thing 0 is", "subject": "thing 0", "target_new": "red"})"
                    "\n"
                    R"({"prompt": "thing 0 is", "subject": "thing 0", "target_new": "green"})");
  ASSERT_EQ(Run({"edit", "--file", file, "--batch", "1"}).code, kExitOk);
  const CliRun run = Run({"withdraw", "1:0", "--reason", "wrong"});
  EXPECT_EQ(run.code, kExitNotApplied) << run.err;
  EXPECT_THAT(run.out, HasSubstr("broken    edit 0 of revision 2: thing 0 is -> green"));
  EXPECT_THAT(run.out, HasSubstr("revision  3 (rejected), on 2"));
  EXPECT_THAT(run.out, HasSubstr("live: revision 2"));
}

TEST_F(WithdrawCommandTest, StageOnlyMovesNoLabel) {
  AddEdits(2);
  EXPECT_EQ(Run({"withdraw", "1:0", "--reason", "wrong", "--stage-only"}).code, kExitOk);
  EXPECT_EQ(server_.live(), 1);
}

TEST_F(WithdrawCommandTest, NamesThatAreNoneAreWrongFlags) {
  for (const char* name : {"x", "1:", ":1", "0:0", "1:-1", "1:2:3", "-"}) {
    EXPECT_EQ(Run({"withdraw", "--reason", "wrong", name}).code, kExitUsage) << name;
  }
  EXPECT_EQ(Run({"withdraw", "1:0"}).code, kExitUsage) << "no reason";
}

TEST_F(WithdrawCommandTest, AnEditThatDoesNotExistIsAServerError) {
  AddEdits(2);
  const CliRun run = Run({"withdraw", "1:7", "--reason", "wrong"});
  EXPECT_EQ(run.code, kExitServerError);
  EXPECT_THAT(run.err, HasSubstr("EDIT_NOT_FOUND"));
}

}  // namespace
}  // namespace amend::client
