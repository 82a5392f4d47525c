#include "client/cli/revision_text.h"

#include "gtest/gtest.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

TEST(RevisionTextTest, ATimeThatIsNotSetIsADash) {
  google::protobuf::Timestamp time;
  EXPECT_EQ(TimeText(time), "-");
  time.set_seconds(1709208000);
  EXPECT_EQ(TimeText(time), "2024-02-29T12:00:00Z");
}

TEST(RevisionTextTest, MarksSayWhatHoldsARevisionOrTookIt) {
  v1::Revision revision;
  EXPECT_EQ(MarksText(revision), "");
  revision.add_labels("canary");
  revision.add_labels("live");
  revision.set_pinned(true);
  EXPECT_EQ(MarksText(revision), "canary,live (pinned)");
  revision.Clear();
  revision.mutable_delete_time()->set_seconds(1);
  EXPECT_EQ(MarksText(revision), "(deleted)");
  revision.mutable_purge_time()->set_seconds(1);
  EXPECT_EQ(MarksText(revision), "(purged)");
}

TEST(RevisionTextTest, ARevisionWhoseSenderNobodyAskedHasADash) {
  v1::Revision revision;
  EXPECT_EQ(ActorText(revision), "-");
  EXPECT_EQ(ToJson(revision)["actor"], "");
  revision.set_actor("editor");
  EXPECT_EQ(ActorText(revision), "editor");
  EXPECT_EQ(ToJson(revision)["actor"], "editor");
}

TEST(RevisionTextTest, JsonHasTimesOfDeletionOnlyWhereThereAreAny) {
  v1::Revision revision;
  revision.set_state(v1::Revision::VALIDATED);
  OrderedJson json = ToJson(revision);
  EXPECT_EQ(json["state"], "VALIDATED");
  EXPECT_EQ(json["pinned"], false);
  EXPECT_FALSE(json.contains("delete_time"));
  revision.mutable_delete_time()->set_seconds(1709208000);
  EXPECT_EQ(ToJson(revision)["delete_time"], "2024-02-29T12:00:00Z");
}

}  // namespace
}  // namespace amend::client
