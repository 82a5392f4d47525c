#include "client/cli/history_commands.h"

#include <algorithm>

#include "client/cli/testing/cli_run.h"
#include "client/testing/scripted_revisions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;
using ::testing::HasSubstr;
using Change = v1::WatchRevisionsResponse::RevisionChanged;

class HistoryCommandsTest : public testing::Test {
 protected:
  CliRun Run(const std::vector<std::string>& arguments) {
    return RunCli(server_.address(), arguments);
  }
  static v1::CompareRevisionsResponse Page(v1::RevisionDifference::Kind kind, int64_t revision,
                                           const std::string& next) {
    v1::CompareRevisionsResponse page;
    page.set_common_ancestor(1);
    page.set_removed_count(1);
    page.set_added_count(1);
    v1::RevisionDifference& difference = *page.add_differences();
    difference.set_kind(kind);
    difference.set_revision(revision);
    difference.mutable_edit()->set_prompt("The sky is");
    difference.mutable_edit()->set_target_new("green");
    page.set_next_page_token(next);
    return page;
  }
  // The state, a new revision, live on it, a new label, its deletion.
  void SayEvents() {
    v1::WatchRevisionsResponse event;
    event.mutable_state()->set_latest_revision(1);
    event.mutable_state()->add_labels()->set_name("live");
    server_.Say("WatchRevisions", event);
    event.mutable_revision_changed()->set_change(Change::CREATED);
    event.mutable_revision_changed()->mutable_revision()->set_revision(2);
    event.mutable_revision_changed()->mutable_revision()->set_parent(1);
    event.mutable_revision_changed()->mutable_revision()->set_edit_count(3);
    event.mutable_revision_changed()->mutable_revision()->set_state(v1::Revision::VALIDATED);
    server_.Say("WatchRevisions", event);
    event.mutable_label_moved()->mutable_label()->set_name("live");
    event.mutable_label_moved()->mutable_label()->set_revision(2);
    event.mutable_label_moved()->set_previous_revision(1);
    server_.Say("WatchRevisions", event);
    event.mutable_label_moved()->mutable_label()->set_name("canary");
    event.mutable_label_moved()->clear_previous_revision();
    server_.Say("WatchRevisions", event);
    event.mutable_label_deleted()->mutable_label()->set_name("canary");
    event.mutable_label_deleted()->mutable_label()->set_revision(2);
    server_.Say("WatchRevisions", event);
    event.mutable_revision_changed()->set_change(Change::PURGED);
    event.mutable_revision_changed()->mutable_revision()->set_revision(1);
    server_.Say("WatchRevisions", event);
  }

  ScriptedRevisions server_;
};

TEST_F(HistoryCommandsTest, CompareTurnsAllPages) {
  server_.Say("CompareRevisions", Page(v1::RevisionDifference::REMOVED, 2, "1"));
  server_.Say("CompareRevisions", Page(v1::RevisionDifference::ADDED, 3, ""));
  const CliRun run = Run({"compare", "2", "3"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_EQ(run.out,
            "revisions 2 and 3 part at revision 1: 1 edits removed, 1 added\n"
            "-      2     0  The sky is -> green\n"
            "+      3     0  The sky is -> green\n");
  EXPECT_EQ(server_.Asked("CompareRevisions"), R"(base_revision: 2 revision: 3 page_token: "1")");
}

TEST_F(HistoryCommandsTest, CompareAsJsonEndsAtItsLimit) {
  server_.Say("CompareRevisions", Page(v1::RevisionDifference::REMOVED, 2, "1"));
  const CliRun run = Run({"compare", "2", "3", "--limit", "1", "--json"});
  EXPECT_THAT(run.out, HasSubstr(R"("common_ancestor":1,"removed":1,"added":1})"));
  EXPECT_THAT(run.out, HasSubstr(R"({"change":"removed","revision":2,"edit":0,)"));
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 2);
}

TEST_F(HistoryCommandsTest, WatchTellsStateAndChangesAndThenWhyItEnded) {
  SayEvents();
  server_.Fail("WatchRevisions", grpc::StatusCode::RESOURCE_EXHAUSTED, "too slow",
               "WATCH_TOO_SLOW");
  const CliRun run = Run({"watch"});
  EXPECT_EQ(run.code, kExitServerError);
  EXPECT_THAT(run.err, HasSubstr("WATCH_TOO_SLOW"));
  EXPECT_EQ(run.out,
            "newest revision 1; live at 0\n"
            "revision 2: created on 1, validated, 3 edits\n"
            "live: revision 1 -> 2\n"
            "canary: new, at revision 2\n"
            "canary: deleted, was at revision 2\n"
            "revision 1: purged\n");
}

TEST_F(HistoryCommandsTest, WatchEndsAfterSoManyChanges) {
  SayEvents();
  const CliRun run = Run({"watch", "--events", "2", "--json"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 3);
  EXPECT_THAT(run.out, HasSubstr(R"({"event":"state","latest_revision":1,"labels":[)"));
  EXPECT_THAT(run.out, HasSubstr(R"({"event":"created","revision":{"revision":2)"));
  EXPECT_THAT(run.out, HasSubstr(R"("previous_revision":1})"));
}

TEST_F(HistoryCommandsTest, ValidateExitsByWhatTheGateSays) {
  v1::ValidateRevisionResponse response;
  v1::GateReport& gate = *response.mutable_gate_report();
  gate.set_passed(true);
  gate.set_reliability(0.95);
  gate.mutable_thresholds()->set_reliability(0.9);
  server_.Say("ValidateRevision", response);
  const CliRun passed = Run({"validate", "2"});
  EXPECT_EQ(passed.code, kExitOk) << passed.err;
  EXPECT_THAT(passed.out, HasSubstr("revision 2: passes the gate"));
  EXPECT_THAT(passed.out, HasSubstr("reliability  0.95 of at least 0.90"));
  EXPECT_EQ(server_.Asked("ValidateRevision"), "revision: 2 thresholds { }");
  gate.set_passed(false);
  gate.add_failures("reliability 0.95 is below 0.99");
  response.add_edit_results()->set_index(4);
  server_.Say("ValidateRevision", response);
  const CliRun failed = Run({"validate", "2", "--min-reliability", "0.99"});
  EXPECT_EQ(failed.code, kExitNotApplied);
  EXPECT_THAT(failed.out, HasSubstr("0.95 is below 0.99"));
  EXPECT_THAT(failed.out, HasSubstr("edit 4"));
  EXPECT_EQ(server_.Asked("ValidateRevision"), "revision: 2 thresholds { reliability: 0.99 }");
}

TEST_F(HistoryCommandsTest, AuditTurnsAllPages) {
  v1::ListAuditRecordsResponse page;
  v1::AuditRecord& record = *page.add_records();
  record.set_sequence(12);
  record.set_verb("rollback");
  record.set_label("live");
  record.set_from(3);
  record.set_to(1);
  record.set_actor("ipv4:127.0.0.1:1");
  record.set_reason("wrong source");
  page.set_next_page_token("12");
  server_.Say("ListAuditRecords", page);
  record.set_sequence(11);
  record.set_verb("pin");
  record.clear_label();
  page.clear_next_page_token();
  server_.Say("ListAuditRecords", page);
  const CliRun run = Run({"audit"});
  EXPECT_EQ(run.code, kExitOk) << run.err;
  EXPECT_THAT(run.out, HasSubstr("      12  -  rollback      live 3 -> 1"));
  EXPECT_THAT(run.out, HasSubstr("wrong source\n"));
  EXPECT_THAT(run.out, HasSubstr("      11  -  pin           revision 1"));
  server_.Say("ListAuditRecords", page);
  EXPECT_THAT(Run({"audit", "--json"}).out,
              HasSubstr(R"("verb":"pin","label":"","from":3,"to":1,"reason":"wrong source"})"));
}

}  // namespace
}  // namespace amend::client
