#include "client/cli/revision_commands.h"

#include <algorithm>

#include "client/cli/testing/cli_run.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class RevisionCommandsTest : public testing::Test {
 protected:
  void AddEdits(int batches) {
    const std::string file = WriteTestFile("revisions.jsonl", EditLines(batches));
    ASSERT_EQ(Run({"edit", "--file", file, "--batch", "1"}).code, kExitOk);
  }
  CliRun Run(const std::vector<std::string>& arguments) {
    return RunCli(server_.address(), arguments);
  }

  FakeServer server_;
};

TEST_F(RevisionCommandsTest, ListTurnsAllPagesNewestFirst) {
  AddEdits(5);
  const CliRun run = Run({"revisions"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, ContainsRegex("\n +5 +4  validated(.|\n)*\n +1 +0  validated"));
  EXPECT_THAT(run.out, HasSubstr("live"));
  EXPECT_EQ(Run({"revisions", "list"}).out, run.out);
}

TEST_F(RevisionCommandsTest, ListEndsAtItsLimit) {
  AddEdits(5);
  const std::string out = Run({"--json", "revisions", "list", "--limit", "3"}).out;
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 3);
}

TEST_F(RevisionCommandsTest, ShowNamesTheEdits) {
  AddEdits(2);
  const CliRun run = Run({"revisions", "show", "2"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("thing 1 is -> blue  (1.00 / - / -)"));
  EXPECT_THAT(run.out, HasSubstr("labels    live"));
}

TEST_F(RevisionCommandsTest, RollbackGoesOneBackAndPromoteForward) {
  AddEdits(2);
  EXPECT_EQ(Run({"rollback", "--reason", "wrong"}).out, "live: revision 2 -> 1\n");
  EXPECT_EQ(Run({"promote", "2"}).out, "live: revision 1 -> 2\n");
  EXPECT_EQ(Run({"rollback", "--to", "0", "--reason", "all wrong"}).out, "live: revision 2 -> 0\n");
  EXPECT_EQ(server_.live(), 0);
}

TEST_F(RevisionCommandsTest, RollbackWantsAReason) {
  EXPECT_EQ(Run({"rollback"}).code, kExitUsage);
}

TEST_F(RevisionCommandsTest, AStaleEtagIsAServerError) {
  AddEdits(1);
  const CliRun run = Run({"promote", "0", "--etag", "stale"});
  EXPECT_EQ(run.code, kExitServerError);
  EXPECT_THAT(run.err, HasSubstr("LIVE_CHANGED"));
  EXPECT_EQ(server_.live(), 1);
}

TEST_F(RevisionCommandsTest, StatusTellsModelAndLiveRevision) {
  AddEdits(1);
  const CliRun run = Run({"status"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("model     words"));
  EXPECT_THAT(run.out, HasSubstr("live      revision 1"));
  EXPECT_THAT(Run({"status", "--json"}).out, HasSubstr(R"("latest_revision":1)"));
}

}  // namespace
}  // namespace amend::client
