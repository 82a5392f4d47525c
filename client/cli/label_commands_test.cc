#include "client/cli/label_commands.h"

#include "client/cli/testing/cli_run.h"
#include "client/testing/scripted_revisions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;
using ::testing::HasSubstr;

class LabelCommandsTest : public testing::Test {
 protected:
  CliRun Run(const std::vector<std::string>& arguments) {
    return RunCli(server_.address(), arguments);
  }
  static v1::Label Label(const std::string& name, int64_t revision) {
    v1::Label label;
    label.set_name(name);
    label.set_revision(revision);
    label.set_etag("4");
    return label;
  }

  ScriptedRevisions server_;
};

TEST_F(LabelCommandsTest, LabelsListsThem) {
  v1::ListLabelsResponse response;
  *response.add_labels() = Label("canary", 3);
  *response.add_labels() = Label("live", 2);
  server_.Say("ListLabels", response);
  EXPECT_EQ(Run({"labels"}).out,
            "revision etag  label\n       3    4  canary\n       2    4  live\n");
  server_.Say("ListLabels", response);
  EXPECT_THAT(Run({"labels", "--json"}).out,
              HasSubstr(R"({"name":"live","revision":2,"etag":"4"})"));
}

TEST_F(LabelCommandsTest, SetSaysWhereTheLabelStoodOrThatItIsNew) {
  v1::SetLabelResponse response;
  *response.mutable_label() = Label("canary", 3);
  server_.Say("SetLabel", response);
  const CliRun made = Run({"label", "set", "canary", "3", "--etag", "0", "--reason", "try it"});
  EXPECT_EQ(made.code, kExitOk) << made.err;
  EXPECT_EQ(made.out, "canary: new, at revision 3\n");
  EXPECT_EQ(server_.Asked("SetLabel"), R"(label: "canary" revision: 3 etag: "0" reason: "try it")");
  response.set_previous_revision(0);
  server_.Say("SetLabel", response);
  EXPECT_EQ(Run({"label", "set", "canary", "3"}).out, "canary: revision 0 -> 3\n");
}

TEST_F(LabelCommandsTest, DeleteSaysWhereTheLabelWas) {
  v1::DeleteLabelResponse response;
  *response.mutable_label() = Label("canary", 3);
  server_.Say("DeleteLabel", response);
  EXPECT_EQ(Run({"label", "delete", "canary"}).out, "canary: deleted, was at revision 3\n");
  EXPECT_EQ(server_.Asked("DeleteLabel"), R"(label: "canary")");
}

TEST_F(LabelCommandsTest, AStaleEtagIsAServerErrorWithItsReason) {
  server_.Fail("SetLabel", grpc::StatusCode::ABORTED, "etag 4, not 3", "LIVE_CHANGED");
  const CliRun run = Run({"label", "set", "canary", "3", "--etag", "3"});
  EXPECT_EQ(run.code, kExitServerError);
  EXPECT_THAT(run.err, HasSubstr("LIVE_CHANGED"));
}

TEST_F(LabelCommandsTest, ALabelCommandWantsItsArguments) {
  EXPECT_EQ(Run({"label"}).code, kExitUsage);
  EXPECT_EQ(Run({"label", "set", "canary"}).code, kExitUsage);
  EXPECT_EQ(Run({"label", "set", "canary", "-3"}).code, kExitUsage);
  EXPECT_EQ(Run({"label", "delete"}).code, kExitUsage);
}

}  // namespace
}  // namespace amend::client
