#include "server/edit_service.h"

#include "absl/synchronization/notification.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/testing/edit_server.h"

namespace amend {
namespace {

class EditServiceTest : public testing::Test {
 protected:
  // Also when a test ends early.
  void TearDown() override {
    if (!release_.HasBeenNotified()) release_.Notify();
  }

  static v1::SubmitEditBatchRequest Request(const std::string& target,
                                            const std::string& request_id = "",
                                            const std::string& subject = "subject") {
    v1::SubmitEditBatchRequest request;
    *request.mutable_batch()->add_edits() = ToProto(MakeEdit(target, subject));
    request.set_request_id(request_id);
    return request;
  }
  grpc::Status Submit(const v1::SubmitEditBatchRequest& request) {
    grpc::ClientContext context;
    response_.Clear();
    return s_.edits->SubmitEditBatch(&context, request, &response_);
  }

  // Outlives the coordinator thread, which may still be about to wait for it.
  absl::Notification release_;
  EditServer s_;
  v1::SubmitEditBatchResponse response_;
};

TEST_F(EditServiceTest, SubmitWaitsForTheTerminalStage) {
  s_.Start();
  ASSERT_TRUE(Submit(Request("Rome")).ok());
  EXPECT_EQ(response_.batch().stage(), v1::LIVE);
  EXPECT_EQ(response_.batch().revision(), 1);
  EXPECT_EQ(s_.Live(), Revision(1));
}

TEST_F(EditServiceTest, SubmitReturnsAtDurableWhenThatIsAskedFor) {
  s_.engine.on_step = [this](int) { release_.WaitForNotification(); };
  s_.Start();
  v1::SubmitEditBatchRequest request = Request("Rome", "r");
  request.set_wait_for(v1::DURABLE);
  ASSERT_TRUE(Submit(request).ok());
  EXPECT_EQ(response_.batch().stage(), v1::DURABLE);
  EXPECT_EQ(response_.batch().session(), "unary:r");
  release_.Notify();
}

TEST_F(EditServiceTest, TheSameRequestIdAgainReturnsTheSameBatch) {
  s_.Start();
  ASSERT_TRUE(Submit(Request("Rome", "r")).ok());
  ASSERT_TRUE(Submit(Request("Rome", "r")).ok());
  EXPECT_TRUE(response_.batch().replayed());
  EXPECT_EQ(response_.batch().revision(), 1);
  EXPECT_EQ(s_.store.LatestRevision(), Revision(1));
}

TEST_F(EditServiceTest, TheSameRequestIdForOtherEditsIsAConflict) {
  s_.Start();
  ASSERT_TRUE(Submit(Request("Rome", "r")).ok());
  const grpc::Status status = Submit(Request("Paris", "r"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(ReasonOfRpc(status), "OFFSET_CONFLICT");
}

TEST_F(EditServiceTest, RequestsWithoutAnIdAreDifferentBatches) {
  s_.Start();
  ASSERT_TRUE(Submit(Request("Rome")).ok());
  ASSERT_TRUE(Submit(Request("Rome")).ok());
  EXPECT_FALSE(response_.batch().replayed());
  EXPECT_EQ(s_.store.LatestRevision(), Revision(2));
}

TEST_F(EditServiceTest, AMalformedBatchIsAnErrorAndItsRequestIdStaysFree) {
  s_.Start();
  const grpc::Status status = Submit(Request("Rome", "r", "malformed"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOfRpc(status), "EDIT_INVALID");
  EXPECT_TRUE(Submit(Request("Rome", "r")).ok());
}

TEST_F(EditServiceTest, ABatchThatCannotBeSolvedIsAnAnswerNotAnError) {
  s_.Start();
  ASSERT_TRUE(Submit(Request("diverge")).ok());
  EXPECT_EQ(response_.batch().stage(), v1::FAILED);
  EXPECT_EQ(ReasonOfRpc(response_.batch().error()), "EDIT_DIVERGED");
}

TEST_F(EditServiceTest, ValidateOnlyStoresNothing) {
  s_.Start();
  v1::SubmitEditBatchRequest request = Request("Rome");
  request.set_validate_only(true);
  EXPECT_TRUE(Submit(request).ok());
  EXPECT_EQ(response_.batch().edit_count(), 1);
  request = Request("Rome", "", "malformed");
  request.set_validate_only(true);
  EXPECT_EQ(ReasonOfRpc(Submit(request)), "EDIT_INVALID");
  EXPECT_EQ(s_.store.write_count(), 0);
}

TEST_F(EditServiceTest, ADeadlineEndsTheCallAndNotTheBatch) {
  s_.engine.on_step = [this](int) { release_.WaitForNotification(); };
  s_.Start();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  const grpc::Status status = s_.edits->SubmitEditBatch(&context, Request("Rome", "r"), &response_);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  release_.Notify();
  ASSERT_TRUE(Submit(Request("Rome", "r")).ok());
  EXPECT_EQ(response_.batch().stage(), v1::LIVE);
  EXPECT_EQ(s_.store.LatestRevision(), Revision(1));
}

TEST_F(EditServiceTest, AStoreThatCannotWriteIsUnavailable) {
  s_.Start();
  s_.store.SetWriteStatus(absl::ResourceExhaustedError("no space left on device"));
  const grpc::Status status = Submit(Request("Rome", "r"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOfRpc(status), "STORE_READ_ONLY");
}

TEST_F(EditServiceTest, GetEditBatchReturnsWhatIsRecorded) {
  s_.Start();
  s_.Run("s", 0, "Rome");
  grpc::ClientContext context;
  v1::GetEditBatchRequest request;
  request.set_session("s");
  v1::EditBatchStatus status;
  ASSERT_TRUE(s_.edits->GetEditBatch(&context, request, &status).ok());
  EXPECT_EQ(status.stage(), v1::LIVE);
  EXPECT_EQ(status.edit_results_size(), 1);
}

TEST_F(EditServiceTest, GetEditBatchOfAnUnknownOffsetIsNotFound) {
  s_.Start();
  grpc::ClientContext context;
  v1::GetEditBatchRequest request;
  request.set_session("s");
  request.set_offset(3);
  v1::EditBatchStatus response;
  const grpc::Status status = s_.edits->GetEditBatch(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOfRpc(status), "BATCH_NOT_FOUND");
}

TEST_F(EditServiceTest, ListEditBatchesGoesThroughTheSessionPageByPage) {
  s_.Start();
  for (int i = 0; i < 3; ++i) s_.Run("s", i, "Rome");
  v1::ListEditBatchesRequest request;
  request.set_session("s");
  request.set_page_size(2);
  v1::ListEditBatchesResponse first, second;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(s_.edits->ListEditBatches(&context, request, &first).ok());
  }
  ASSERT_EQ(first.batches_size(), 2);
  request.set_page_token(first.next_page_token());
  grpc::ClientContext context;
  ASSERT_TRUE(s_.edits->ListEditBatches(&context, request, &second).ok());
  ASSERT_EQ(second.batches_size(), 1);
  EXPECT_EQ(second.batches(0).offset(), 2);
  EXPECT_EQ(second.next_page_token(), "");
}

}  // namespace
}  // namespace amend
