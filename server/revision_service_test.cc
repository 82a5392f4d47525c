#include "server/revision_service.h"

#include <atomic>
#include <thread>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/testing/edit_server.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RevisionServiceTest : public testing::Test {
 protected:
  RevisionServiceTest() { s_.Start(); }

  grpc::Status Promote(const v1::PromoteRequest& request, v1::PromoteResponse* response) {
    grpc::ClientContext context;
    return s_.revisions->Promote(&context, request, response);
  }
  grpc::Status PromoteTo(int64_t revision) {
    v1::PromoteRequest request;
    request.set_revision(revision);
    v1::PromoteResponse response;
    return Promote(request, &response);
  }
  grpc::Status Rollback(const v1::RollbackRequest& request) {
    grpc::ClientContext context;
    return s_.revisions->Rollback(&context, request, &rolled_back_);
  }
  v1::RollbackRequest RollbackRequest(int64_t revision) {
    v1::RollbackRequest request;
    request.set_revision(revision);
    request.set_reason("because");
    return request;
  }
  grpc::Status Get(int64_t revision, v1::Revision* response) {
    grpc::ClientContext context;
    v1::GetRevisionRequest request;
    request.set_revision(revision);
    return s_.revisions->GetRevision(&context, request, response);
  }

  using Stub = v1::RevisionService::Stub;
  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    response->Clear();
    return (s_.revisions.get()->*method)(&context, request, response);
  }
  static v1::SetLabelRequest LabelRequest(const std::string& label, int64_t revision,
                                          const std::string& etag) {
    v1::SetLabelRequest request;
    request.set_label(label);
    request.set_revision(revision);
    request.set_etag(etag);
    request.set_reason("because");
    return request;
  }

  grpc::Status Withdraw(const v1::WithdrawEditsRequest& request) {
    grpc::ClientContext context;
    return s_.revisions->WithdrawEdits(&context, request, &withdrawn_);
  }
  static v1::WithdrawEditsRequest WithdrawRequest(int64_t revision, int32_t index) {
    v1::WithdrawEditsRequest request;
    request.add_edits()->set_revision(revision);
    request.mutable_edits(0)->set_edit_index(index);
    request.set_reason("because");
    return request;
  }

  EditServer s_;
  v1::WithdrawEditsResponse withdrawn_;
  v1::RollbackResponse rolled_back_;
};

TEST_F(RevisionServiceTest, AWithdrawalIsAnsweredWithTheNewRevisionAndItsVerdict) {
  s_.Run("s", 0, "Rome");
  ASSERT_TRUE(Withdraw(WithdrawRequest(1, 0)).ok());
  const v1::Revision& revision = withdrawn_.revision();
  EXPECT_EQ(revision.revision(), 2);
  EXPECT_EQ(revision.parent(), 1);
  EXPECT_EQ(revision.state(), v1::Revision::VALIDATED);
  EXPECT_EQ(revision.line_edit_count(), 0);
  EXPECT_EQ(revision.gate_report().reverted(), 1);
  ASSERT_EQ(revision.withdrawn_size(), 1);
  EXPECT_EQ(revision.withdrawn(0).revision(), 1);
  EXPECT_EQ(withdrawn_.label().revision(), 2);
  EXPECT_EQ(withdrawn_.label().etag(), "2");
}

TEST_F(RevisionServiceTest, ARevisionThatWithdrawsIsReadAndListedWithoutABatch) {
  s_.Run("s", 0, "Rome");
  ASSERT_TRUE(Withdraw(WithdrawRequest(1, 0)).ok());
  v1::Revision revision;
  const grpc::Status status = Get(2, &revision);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(revision.withdrawn_size(), 1);
  EXPECT_EQ(revision.edits_size(), 0);
  EXPECT_EQ(revision.session(), "");
  EXPECT_THAT(revision.labels(), ElementsAre("live"));
  ASSERT_TRUE(Rollback(RollbackRequest(1)).ok());
  EXPECT_TRUE(PromoteTo(2).ok());
  EXPECT_EQ(s_.Live(), Revision(2));
}

TEST_F(RevisionServiceTest, AWithdrawalThatTheGateTurnsDownIsNoError) {
  s_.Run("s", 0, "stays");
  ASSERT_TRUE(Withdraw(WithdrawRequest(1, 0)).ok());
  EXPECT_EQ(withdrawn_.revision().state(), v1::Revision::REJECTED);
  EXPECT_THAT(withdrawn_.revision().gate_report().failures(0), HasSubstr("still given"));
  EXPECT_EQ(withdrawn_.label().revision(), 1);
}

TEST_F(RevisionServiceTest, AWithdrawalCanBeStagedOrOnlyJudged) {
  s_.Run("s", 0, "Rome");
  v1::WithdrawEditsRequest request = WithdrawRequest(1, 0);
  request.set_validate_only(true);
  ASSERT_TRUE(Withdraw(request).ok());
  EXPECT_EQ(withdrawn_.revision().revision(), 0);
  EXPECT_EQ(withdrawn_.revision().state(), v1::Revision::VALIDATED);
  request.set_validate_only(false);
  request.set_promotion(v1::STAGE_ONLY);
  request.set_revision(1);
  ASSERT_TRUE(Withdraw(request).ok());
  EXPECT_EQ(withdrawn_.revision().revision(), 2);
  EXPECT_EQ(s_.Live(), Revision(1));
}

TEST_F(RevisionServiceTest, AWithdrawalThatCannotBeSaysWhy) {
  s_.Run("s", 0, "Rome");
  EXPECT_EQ(ReasonOfRpc(Withdraw(WithdrawRequest(1, 1))), "EDIT_NOT_FOUND");
  EXPECT_EQ(ReasonOfRpc(Withdraw(WithdrawRequest(7, 0))), "EDIT_NOT_FOUND");
  v1::WithdrawEditsRequest request = WithdrawRequest(1, 0);
  request.set_etag("7");
  EXPECT_EQ(ReasonOfRpc(Withdraw(request)), "LIVE_CHANGED");
  request.clear_reason();
  EXPECT_EQ(ReasonOfRpc(Withdraw(request)), "INVALID_REQUEST");
}

TEST_F(RevisionServiceTest, GetRevisionShowsEditsVerdictsAndLabels) {
  s_.Run("s", 0, "Rome");
  v1::Revision revision;
  ASSERT_TRUE(Get(1, &revision).ok());
  EXPECT_EQ(revision.state(), v1::Revision::VALIDATED);
  EXPECT_EQ(revision.session(), "s");
  ASSERT_EQ(revision.edits_size(), 1);
  EXPECT_EQ(revision.edits(0).target_new(), "Rome");
  EXPECT_TRUE(revision.edit_results(0).passed());
  EXPECT_THAT(revision.labels(), ElementsAre("live"));
  EXPECT_EQ(revision.layer_norms(0).update_norm_ratio(), 0.25);
}

TEST_F(RevisionServiceTest, GetRevisionShowsOnlyTheEditsThatWereNotDropped) {
  s_.failure = FailurePolicy::kDropFailing;
  s_.Submit("s", 0, {MakeEdit("bad", "a"), MakeEdit("Rome", "b")})->Last();
  v1::Revision revision;
  ASSERT_TRUE(Get(1, &revision).ok());
  EXPECT_EQ(revision.edit_count(), 1);
  ASSERT_EQ(revision.edits_size(), 1);
  EXPECT_EQ(revision.edits(0).subject(), "b");
  ASSERT_EQ(revision.edit_results_size(), 1);
  EXPECT_EQ(revision.edit_results(0).index(), 0);
  EXPECT_EQ(revision.edit_results(0).client_edit_id(), "id of Rome");
}

TEST_F(RevisionServiceTest, RevisionZeroIsTheUneditedModel) {
  v1::Revision revision;
  ASSERT_TRUE(Get(0, &revision).ok());
  EXPECT_EQ(revision.state(), v1::Revision::VALIDATED);
  EXPECT_EQ(revision.edit_count(), 0);
  EXPECT_THAT(revision.labels(), ElementsAre("live"));
}

TEST_F(RevisionServiceTest, AnUnknownRevisionIsNotFound) {
  v1::Revision revision;
  const grpc::Status status = Get(9, &revision);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOfRpc(status), "REVISION_NOT_FOUND");
}

TEST_F(RevisionServiceTest, ListRevisionsIsNewestFirstPageByPage) {
  for (int i = 0; i < 3; ++i) s_.Run("s", i, "Rome");
  v1::ListRevisionsRequest request;
  request.set_page_size(2);
  v1::ListRevisionsResponse first, second;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(s_.revisions->ListRevisions(&context, request, &first).ok());
  }
  ASSERT_EQ(first.revisions_size(), 2);
  EXPECT_EQ(first.revisions(0).revision(), 3);
  EXPECT_EQ(first.revisions(1).revision(), 2);
  EXPECT_EQ(first.live().revision(), 3);
  EXPECT_EQ(first.live().etag(), "3");
  request.set_page_token(first.next_page_token());
  grpc::ClientContext context;
  ASSERT_TRUE(s_.revisions->ListRevisions(&context, request, &second).ok());
  ASSERT_EQ(second.revisions_size(), 1);
  EXPECT_EQ(second.revisions(0).revision(), 1);
  EXPECT_EQ(second.next_page_token(), "");
}

TEST_F(RevisionServiceTest, APageTokenThatWasNotGivenOutIsInvalid) {
  grpc::ClientContext context;
  v1::ListRevisionsRequest request;
  request.set_page_token("x");
  v1::ListRevisionsResponse response;
  EXPECT_EQ(s_.revisions->ListRevisions(&context, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(RevisionServiceTest, ARejectedRevisionCannotBePromoted) {
  s_.Run("s", 0, "bad");
  const grpc::Status status = PromoteTo(1);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ReasonOfRpc(status), "NOT_VALIDATED");
  EXPECT_EQ(s_.Live(), kBaseRevision);
}

TEST_F(RevisionServiceTest, OfManyPromotionsAtOnceWithOneEtagExactlyOneWins) {
  for (int i = 0; i < 4; ++i) s_.Run("s", i, "Rome", PromotionPolicy::kStageOnly);
  std::atomic<int> won{0}, lost{0};
  std::vector<std::thread> clients;
  for (int i = 1; i <= 4; ++i) {
    clients.emplace_back([&, i] {
      v1::PromoteRequest request;
      request.set_revision(i);
      request.set_etag("0");
      v1::PromoteResponse response;
      const grpc::Status status = Promote(request, &response);
      if (status.ok()) {
        ++won;
        EXPECT_EQ(response.label().revision(), i);
      } else {
        ++lost;
        EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
        EXPECT_EQ(ReasonOfRpc(status), "LIVE_CHANGED");
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(won, 1);
  EXPECT_EQ(lost, 3);
}

TEST_F(RevisionServiceTest, RollbackGoesBackAndKeepsTheReason) {
  s_.Run("s", 0, "Rome");
  s_.Run("s", 1, "Paris");
  ASSERT_TRUE(Rollback(RollbackRequest(0)).ok());
  EXPECT_EQ(rolled_back_.previous_revision(), 2);
  EXPECT_EQ(rolled_back_.label().revision(), 0);
  EXPECT_EQ(s_.Live(), kBaseRevision);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, s_.store.ListAudit(INT64_MAX, 1));
  EXPECT_EQ(audit[0].verb, "rollback");
  EXPECT_EQ(audit[0].reason, "because");
  EXPECT_NE(audit[0].actor, "");
}

TEST_F(RevisionServiceTest, RollbackToPreviousGoesToTheParent) {
  s_.Run("s", 0, "Rome");
  s_.Run("s", 1, "bad");
  s_.Run("s", 2, "Paris");
  v1::RollbackRequest request;
  request.set_previous(true);
  request.set_reason("because");
  ASSERT_TRUE(Rollback(request).ok());
  EXPECT_EQ(rolled_back_.label().revision(), 1);
}

TEST_F(RevisionServiceTest, RollbackNeedsAReason) {
  v1::RollbackRequest request;
  request.set_revision(0);
  const grpc::Status status = Rollback(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("reason"));
}

TEST_F(RevisionServiceTest, RollbackToWhereTheLabelStandsIsRefused) {
  s_.Run("s", 0, "Rome");
  const grpc::Status status = Rollback(RollbackRequest(1));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ReasonOfRpc(status), "SAME_REVISION");
}

TEST_F(RevisionServiceTest, AVerbIsAnsweredWhenTheServerStopsBeforeItsTurn) {
  s_.coordinator->Stop();
  const grpc::Status status = PromoteTo(0);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOfRpc(status), "DRAINING");
}

// ---- Labels, revisions that go, the audit trail
// -------------------------------------------------

TEST_F(RevisionServiceTest, ALabelIsMadeMovedListedAndDeleted) {
  s_.Run("s", 0, "Rome");
  s_.Run("s", 1, "Paris");
  v1::SetLabelResponse set;
  ASSERT_TRUE(Call(&Stub::SetLabel, LabelRequest("canary", 2, "0"), &set).ok());
  EXPECT_FALSE(set.has_previous_revision());
  EXPECT_EQ(set.label().etag(), "1");
  ASSERT_TRUE(Call(&Stub::SetLabel, LabelRequest("canary", 1, "1"), &set).ok());
  EXPECT_EQ(set.previous_revision(), 2);
  v1::ListLabelsResponse labels;
  ASSERT_TRUE(Call(&Stub::ListLabels, v1::ListLabelsRequest(), &labels).ok());
  ASSERT_EQ(labels.labels_size(), 2);
  EXPECT_EQ(labels.labels(0).name(), "canary");
  EXPECT_EQ(labels.labels(0).revision(), 1);
  EXPECT_EQ((*s_.serving->Resolve("canary"))->revision, Revision(1));
  v1::DeleteLabelRequest deletion;
  deletion.set_label("canary");
  deletion.set_etag("1");
  v1::DeleteLabelResponse deleted;
  EXPECT_EQ(ReasonOfRpc(Call(&Stub::DeleteLabel, deletion, &deleted)), "LIVE_CHANGED");
  deletion.set_etag("2");
  ASSERT_TRUE(Call(&Stub::DeleteLabel, deletion, &deleted).ok());
  EXPECT_EQ(deleted.label().revision(), 1);
  EXPECT_EQ(ReasonOfRpc(Call(&Stub::DeleteLabel, deletion, &deleted)), "LABEL_NOT_FOUND");
}

TEST_F(RevisionServiceTest, LiveIsNeitherSetNorDeleted) {
  v1::SetLabelResponse set;
  EXPECT_EQ(Call(&Stub::SetLabel, LabelRequest("live", 0, ""), &set).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  v1::DeleteLabelRequest deletion;
  deletion.set_label("live");
  v1::DeleteLabelResponse deleted;
  EXPECT_EQ(Call(&Stub::DeleteLabel, deletion, &deleted).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(RevisionServiceTest, ARevisionIsPinnedDeletedPurgedAndItsRecordStays) {
  s_.Run("s", 0, "Rome", PromotionPolicy::kStageOnly);
  v1::Revision revision;
  v1::PinRevisionRequest pin;
  pin.set_revision(1);
  ASSERT_TRUE(Call(&Stub::PinRevision, pin, &revision).ok());
  EXPECT_TRUE(revision.pinned());
  v1::DeleteRevisionRequest deletion;
  deletion.set_revision(1);
  EXPECT_EQ(ReasonOfRpc(Call(&Stub::DeleteRevision, deletion, &revision)), "REVISION_PINNED");
  v1::UnpinRevisionRequest unpin;
  unpin.set_revision(1);
  ASSERT_TRUE(Call(&Stub::UnpinRevision, unpin, &revision).ok());
  ASSERT_TRUE(Call(&Stub::DeleteRevision, deletion, &revision).ok());
  EXPECT_TRUE(revision.has_delete_time());
  EXPECT_EQ(ReasonOfRpc(PromoteTo(1)), "REVISION_DELETED");
  v1::UndeleteRevisionRequest undeletion;
  undeletion.set_revision(1);
  ASSERT_TRUE(Call(&Stub::UndeleteRevision, undeletion, &revision).ok());
  EXPECT_FALSE(revision.has_delete_time());
  ASSERT_TRUE(Call(&Stub::DeleteRevision, deletion, &revision).ok());
  v1::PurgeRevisionsRequest purge;
  v1::PurgeRevisionsResponse purged;
  ASSERT_TRUE(Call(&Stub::PurgeRevisions, purge, &purged).ok());
  EXPECT_EQ(purged.revisions_size(), 0);
  purge.set_without_delay(true);
  ASSERT_TRUE(Call(&Stub::PurgeRevisions, purge, &purged).ok());
  EXPECT_THAT(purged.revisions(), ElementsAre(1));
  ASSERT_TRUE(Get(1, &revision).ok());
  EXPECT_EQ(revision.state(), v1::Revision::VALIDATED);
  EXPECT_TRUE(revision.has_purge_time());
  EXPECT_EQ(revision.edits(0).target_new(), "Rome");
  EXPECT_TRUE(revision.edit_results(0).passed());
  EXPECT_EQ(ReasonOfRpc(PromoteTo(1)), "REVISION_PURGED");
  EXPECT_EQ(ReasonOfRpc(Call(&Stub::UndeleteRevision, undeletion, &revision)), "REVISION_PURGED");
}

TEST_F(RevisionServiceTest, ALabelledRevisionIsNotDeleted) {
  s_.Run("s", 0, "Rome");
  v1::DeleteRevisionRequest deletion;
  deletion.set_revision(1);
  v1::Revision revision;
  const grpc::Status status = Call(&Stub::DeleteRevision, deletion, &revision);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ReasonOfRpc(status), "REVISION_LABELLED");
}

TEST_F(RevisionServiceTest, ValidateTellsTheVerdictOfNow) {
  s_.Run("s", 0, "Rome");
  v1::ValidateRevisionRequest request;
  request.set_revision(1);
  v1::ValidateRevisionResponse response;
  ASSERT_TRUE(Call(&Stub::ValidateRevision, request, &response).ok());
  EXPECT_TRUE(response.gate_report().passed());
  EXPECT_EQ(response.gate_report().reliability(), 1);
  ASSERT_EQ(response.edit_results_size(), 1);
  EXPECT_EQ(response.edit_results(0).client_edit_id(), "id of Rome");
}

TEST_F(RevisionServiceTest, CompareTellsWhatTwoBranchesHaveApart) {
  s_.Run("s", 0, "Rome");
  s_.Run("s", 1, "Paris");
  ASSERT_TRUE(Rollback(RollbackRequest(1)).ok());
  s_.Run("s", 2, "Oslo");
  v1::CompareRevisionsRequest request;
  request.set_base_revision(2);
  request.set_revision(3);
  v1::CompareRevisionsResponse response;
  ASSERT_TRUE(Call(&Stub::CompareRevisions, request, &response).ok());
  EXPECT_EQ(response.common_ancestor(), 1);
  ASSERT_EQ(response.differences_size(), 2);
  EXPECT_EQ(response.differences(0).edit().target_new(), "Paris");
  EXPECT_EQ(response.differences(1).edit().target_new(), "Oslo");
  request.set_revision(9);
  EXPECT_EQ(ReasonOfRpc(Call(&Stub::CompareRevisions, request, &response)), "REVISION_NOT_FOUND");
}

TEST_F(RevisionServiceTest, TheAuditTrailIsNewestFirstPageByPage) {
  s_.Run("s", 0, "Rome");
  s_.Run("s", 1, "bad");
  ASSERT_TRUE(Rollback(RollbackRequest(0)).ok());
  v1::ListAuditRecordsRequest request;
  request.set_page_size(2);
  v1::ListAuditRecordsResponse first, second;
  ASSERT_TRUE(Call(&Stub::ListAuditRecords, request, &first).ok());
  ASSERT_EQ(first.records_size(), 2);
  EXPECT_EQ(first.records(0).sequence(), 3);
  EXPECT_EQ(first.records(0).verb(), "rollback");
  EXPECT_EQ(first.records(0).reason(), "because");
  EXPECT_EQ(first.records(0).from(), 1);
  EXPECT_EQ(first.records(0).to(), 0);
  EXPECT_NE(first.records(0).actor(), "");
  EXPECT_GT(first.records(0).time().seconds(), 0);
  EXPECT_EQ(first.records(1).verb(), "reject");
  request.set_page_token(first.next_page_token());
  ASSERT_TRUE(Call(&Stub::ListAuditRecords, request, &second).ok());
  ASSERT_EQ(second.records_size(), 1);
  EXPECT_EQ(second.records(0).verb(), "promote");
  EXPECT_EQ(second.next_page_token(), "");
}

}  // namespace
}  // namespace amend
