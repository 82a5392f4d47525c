#include "client/cli/retention_commands.h"

#include "client/cli/testing/cli_run.h"
#include "client/testing/scripted_revisions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;
using ::testing::HasSubstr;

class RetentionCommandsTest : public testing::Test {
 protected:
  CliRun Run(const std::vector<std::string>& arguments) {
    return RunCli(server_.address(), arguments);
  }

  ScriptedRevisions server_;
};

TEST_F(RetentionCommandsTest, EachVerbAsksItsOwnMethodAndShowsTheRevision) {
  const std::pair<const char*, const char*> verbs[] = {{"pin", "PinRevision"},
                                                       {"unpin", "UnpinRevision"},
                                                       {"delete", "DeleteRevision"},
                                                       {"undelete", "UndeleteRevision"}};
  for (const auto& [verb, method] : verbs) {
    v1::Revision revision;
    revision.set_revision(3);
    revision.set_state(v1::Revision::VALIDATED);
    revision.set_pinned(true);
    server_.Say(method, revision);
    const CliRun run = Run({verb, "3", "--reason", "because"});
    EXPECT_EQ(run.code, kExitOk) << run.err;
    EXPECT_EQ(run.out, "revision 3: validated (pinned)\n");
    EXPECT_EQ(server_.Asked(method), R"(revision: 3 reason: "because")");
  }
}

TEST_F(RetentionCommandsTest, ARefusalIsAServerErrorWithItsReason) {
  server_.Fail("DeleteRevision", grpc::StatusCode::FAILED_PRECONDITION, "has label \"live\"",
               "REVISION_LABELLED");
  const CliRun run = Run({"delete", "3"});
  EXPECT_EQ(run.code, kExitServerError);
  EXPECT_THAT(run.err, HasSubstr("REVISION_LABELLED"));
}

TEST_F(RetentionCommandsTest, PurgeGoesOnUntilThereIsNoMore) {
  v1::PurgeRevisionsResponse response;
  response.add_revisions(9);
  response.set_more(true);
  server_.Say("PurgeRevisions", response);
  response.set_revisions(0, 7);
  response.set_more(false);
  server_.Say("PurgeRevisions", response);
  const CliRun run = Run({"purge", "--now", "--reason", "space"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_EQ(run.out, "revision 9: purged\nrevision 7: purged\n2 revisions purged\n");
  EXPECT_EQ(server_.Asked("PurgeRevisions"), R"(without_delay: true reason: "space")");
}

TEST_F(RetentionCommandsTest, ADryRunSaysWhatWouldGo) {
  v1::PurgeRevisionsResponse response;
  response.add_revisions(9);
  server_.Say("PurgeRevisions", response);
  EXPECT_EQ(Run({"purge", "--dry-run"}).out,
            "revision 9: would be purged\n1 revision would be purged\n");
  server_.Say("PurgeRevisions", response);
  EXPECT_EQ(Run({"purge", "--dry-run", "--json"}).out, "{\"revision\":9,\"purged\":false}\n");
}

TEST_F(RetentionCommandsTest, AVerbWantsARevision) {
  for (const char* verb : {"pin", "unpin", "delete", "undelete"}) {
    EXPECT_EQ(Run({verb}).code, kExitUsage) << verb;
  }
}

}  // namespace
}  // namespace amend::client
