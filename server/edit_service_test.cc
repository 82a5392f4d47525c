#include "server/edit_service.h"

#include <limits>

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

  grpc::Status Cancel(const std::string& session, int64_t offset, v1::EditBatchStatus* status) {
    grpc::ClientContext context;
    v1::CancelEditBatchRequest request;
    request.set_session(session);
    request.set_offset(offset);
    return s_.edits->CancelEditBatch(&context, request, status);
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

TEST_F(EditServiceTest, APageOfLongStatusesEndsEarlyAndTheNextOneGoesOn) {
  s_.Start();
  const std::vector<Edit> edits(1000, MakeEdit("x", "malformed"));
  for (int i = 0; i < 12; ++i) s_.Submit("s", i, edits)->Last();
  v1::ListEditBatchesRequest request;
  request.set_session("s");
  int pages = 0;
  int batches = 0;
  do {
    v1::ListEditBatchesResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(s_.edits->ListEditBatches(&context, request, &response).ok());
    EXPECT_LT(response.ByteSizeLong(), size_t{2} << 20);
    for (const v1::EditBatchStatus& batch : response.batches()) {
      EXPECT_EQ(batch.offset(), batches++);
    }
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(batches, 12);
  EXPECT_GT(pages, 1);
}

TEST_F(EditServiceTest, ABatchOfAThousandMalformedEditsIsAnErrorThatArrives) {
  s_.Start();
  v1::SubmitEditBatchRequest request;
  for (int i = 0; i < 1000; ++i) {
    *request.mutable_batch()->add_edits() = ToProto(MakeEdit("x", "malformed"));
  }
  const grpc::Status status = Submit(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOfRpc(status), "EDIT_INVALID");
  EXPECT_THAT(status.error_message(), testing::HasSubstr("and 997 more"));
}

TEST_F(EditServiceTest, ABatchOfNoEditsOrTooManyIsTurnedDown) {
  s_.Start();
  EXPECT_EQ(ReasonOfRpc(Submit(v1::SubmitEditBatchRequest())), "EDIT_INVALID");
  v1::SubmitEditBatchRequest request;
  for (int i = 0; i < 100000; ++i) request.mutable_batch()->add_edits()->set_subject("s");
  const grpc::Status status = Submit(request);
  EXPECT_EQ(ReasonOfRpc(status), "EDIT_INVALID");
  EXPECT_THAT(status.error_message(), testing::HasSubstr("has 100000 edits, at most 1000"));
  EXPECT_EQ(s_.store.write_count(), 0);
}

TEST_F(EditServiceTest, AMessageOverFourMebibytesIsTurnedDownByGrpcAndNothingIsStored) {
  s_.Start();
  v1::SubmitEditBatchRequest request = Request("Rome");
  request.mutable_batch()->mutable_edits(0)->set_prompt(std::string(5 << 20, 'x'));
  EXPECT_EQ(Submit(request).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(s_.store.write_count(), 0);
  EXPECT_TRUE(Submit(Request("Rome")).ok());
}

TEST_F(EditServiceTest, ValidateOnlyChecksTheRestOfTheRequestToo) {
  s_.Start();
  v1::SubmitEditBatchRequest request = Request("Rome");
  request.set_validate_only(true);
  request.mutable_thresholds()->set_retention(2);
  EXPECT_EQ(ReasonOfRpc(Submit(request)), "INVALID_REQUEST");
}

TEST_F(EditServiceTest, CancelEditBatchEndsABatchThatIsBeingSolved) {
  // It goes on until it is told to stop.
  s_.engine.steps = std::numeric_limits<int>::max();
  s_.Start();
  v1::SubmitEditBatchRequest request = Request("Rome", "r");
  request.set_wait_for(v1::SOLVING);
  ASSERT_TRUE(Submit(request).ok());
  v1::EditBatchStatus status;
  ASSERT_TRUE(Cancel("unary:r", 0, &status).ok());
  EXPECT_EQ(status.stage(), v1::FAILED);
  EXPECT_EQ(ReasonOfRpc(status.error()), "CANCELLED_BY_CLIENT");
  // The recorded outcome is what the same request gets again.
  ASSERT_TRUE(Submit(request).ok());
  EXPECT_TRUE(response_.batch().replayed());
  EXPECT_EQ(ReasonOfRpc(response_.batch().error()), "CANCELLED_BY_CLIENT");
}

TEST_F(EditServiceTest, CancelEditBatchSaysWhyItCannot) {
  s_.Start();
  s_.Run("s", 0, "Rome");
  v1::EditBatchStatus status;
  const grpc::Status concluded = Cancel("s", 0, &status);
  EXPECT_EQ(concluded.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ReasonOfRpc(concluded), "BATCH_CONCLUDED");
  const grpc::Status unknown = Cancel("s", 1, &status);
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOfRpc(unknown), "BATCH_NOT_FOUND");
  EXPECT_EQ(Cancel("s", -1, &status).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Cancel("a b", 0, &status).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
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
