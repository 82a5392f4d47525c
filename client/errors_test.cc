#include "client/errors.h"

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::HasSubstr;

google::rpc::Status WithReason(int code, const std::string& message, const std::string& reason) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("amend");
  status.add_details()->PackFrom(info);
  return status;
}

TEST(ErrorsTest, KeepsCodeMessageAndReasonOfAnRpc) {
  const google::rpc::Status details =
      WithReason(grpc::StatusCode::ABORTED, "base revision 7, live is 9", "LIVE_CHANGED");
  const absl::Status status = FromGrpcStatus(grpc::Status(
      grpc::StatusCode::ABORTED, "base revision 7, live is 9", details.SerializeAsString()));
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(status.message(), "base revision 7, live is 9");
  EXPECT_EQ(ErrorReason(status), "LIVE_CHANGED");
}

TEST(ErrorsTest, AnOkRpcIsOk) { EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok()); }

TEST(ErrorsTest, UnreadableDetailsLeaveTheStatusWithoutReason) {
  const absl::Status status =
      FromGrpcStatus(grpc::Status(grpc::StatusCode::NOT_FOUND, "no revision 7", "\xff\xff\xff"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrorReason(status), "");
}

TEST(ErrorsTest, UnavailableWithoutReasonIsALostConnection) {
  EXPECT_TRUE(IsConnectionLost(absl::UnavailableError("failed to connect")));
}

TEST(ErrorsTest, UnavailableThatTheServerExplainsIsNotALostConnection) {
  EXPECT_FALSE(IsConnectionLost(
      FromRpcStatus(WithReason(grpc::StatusCode::UNAVAILABLE, "draining", "DRAINING"))));
}

TEST(ErrorsTest, DescriptionNamesReasonAndFields) {
  google::rpc::Status details = WithReason(3, "1 edit is malformed", "EDIT_INVALID");
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field("batch.edits[3].subject");
  violation->set_description("is not in the prompt");
  details.add_details()->PackFrom(bad_request);
  const std::string text = Describe(FromRpcStatus(details));
  EXPECT_THAT(text, HasSubstr("INVALID_ARGUMENT (EDIT_INVALID): 1 edit is malformed"));
  EXPECT_THAT(text, HasSubstr("batch.edits[3].subject: is not in the prompt"));
}

}  // namespace
}  // namespace amend::client
