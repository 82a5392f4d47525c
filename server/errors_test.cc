#include "server/errors.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::HasSubstr;

template <typename T>
T DetailOf(const google::rpc::Status& status) {
  T out;
  for (const auto& detail : status.details()) {
    if (detail.Is<T>()) detail.UnpackTo(&out);
  }
  return out;
}

TEST(ErrorsTest, ReasonAndMetadataReachTheWire) {
  const absl::Status status = WithReason(absl::AbortedError("base revision 7, live is 9"),
                                         "LIVE_CHANGED", {{"expected", "7"}, {"actual", "9"}});
  const google::rpc::Status rpc = ToRpcStatus(status);
  EXPECT_EQ(rpc.code(), 10);
  EXPECT_EQ(rpc.message(), "base revision 7, live is 9");
  const auto info = DetailOf<google::rpc::ErrorInfo>(rpc);
  EXPECT_EQ(info.reason(), "LIVE_CHANGED");
  EXPECT_EQ(info.domain(), "amend");
  EXPECT_EQ(info.metadata().at("expected"), "7");
  EXPECT_EQ(info.metadata().at("actual"), "9");
}

TEST(ErrorsTest, ReasonOfReadsWhatWithReasonWrote) {
  EXPECT_EQ(ReasonOf(WithReason(absl::InternalError("x"), "QUEUE_FULL")), "QUEUE_FULL");
  EXPECT_EQ(ReasonOf(absl::InternalError("x")), "");
}

TEST(ErrorsTest, CodeNameIsTheReasonOfAStatusWithoutOne) {
  const auto info =
      DetailOf<google::rpc::ErrorInfo>(ToRpcStatus(absl::NotFoundError("revision 9")));
  EXPECT_EQ(info.reason(), "NOT_FOUND");
  EXPECT_EQ(info.domain(), "amend");
}

TEST(ErrorsTest, RetryDelayKeepsItsFraction) {
  const auto retry = DetailOf<google::rpc::RetryInfo>(
      ToRpcStatus(WithRetryDelay(absl::ResourceExhaustedError("full"), absl::Milliseconds(1500))));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500000000);
}

TEST(ErrorsTest, FieldViolationsKeepOrderAndPath) {
  const auto bad = DetailOf<google::rpc::BadRequest>(ToRpcStatus(WithFieldViolations(
      absl::InvalidArgumentError("bad"), {{"batch.edits[3].subject", "a"}, {"session", "b"}})));
  ASSERT_EQ(bad.field_violations_size(), 2);
  EXPECT_EQ(bad.field_violations(0).field(), "batch.edits[3].subject");
  EXPECT_EQ(bad.field_violations(1).description(), "b");
}

TEST(ErrorsTest, GrpcStatusCarriesTheDetails) {
  const grpc::Status status =
      ToGrpcStatus(WithReason(absl::UnavailableError("draining"), "DRAINING"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "draining");
  google::rpc::Status rpc;
  ASSERT_TRUE(rpc.ParseFromString(status.error_details()));
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(rpc).reason(), "DRAINING");
}

TEST(ErrorsTest, PreconditionFailureNamesTypeAndSubject) {
  const auto failure = DetailOf<google::rpc::PreconditionFailure>(ToRpcStatus(
      WithPreconditionFailure(absl::FailedPreconditionError("x"), "STATE", "revision 4", "why")));
  ASSERT_EQ(failure.violations_size(), 1);
  EXPECT_EQ(failure.violations(0).type(), "STATE");
  EXPECT_EQ(failure.violations(0).subject(), "revision 4");
}

TEST(ErrorsTest, AFullDiskReachesClientsAsStoreReadOnlyWithARetryDelay) {
  const absl::Status status = FromStore(absl::ResourceExhaustedError("no space left"));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), "STORE_READ_ONLY");
  EXPECT_GT(DetailOf<google::rpc::RetryInfo>(ToRpcStatus(status)).retry_delay().seconds(), 0);
}

TEST(ErrorsTest, ADamagedBlobReachesClientsAsDigestMismatch) {
  EXPECT_EQ(ReasonOf(FromStore(absl::DataLossError("factors/4/0/u"))), "DIGEST_MISMATCH");
}

TEST(ErrorsTest, OtherErrorsOfTheStoreStayAsTheyAre) {
  EXPECT_EQ(FromStore(absl::NotFoundError("x")), absl::NotFoundError("x"));
}

TEST(ErrorsTest, OkStaysOkWithoutDetails) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_EQ(ToRpcStatus(absl::OkStatus()).details_size(), 0);
}

TEST(ErrorsTest, TheEndOfACallFitsIntoTrailers) {
  std::string message = "x";
  for (int i = 0; i < 10000; ++i) message += "\xe2\x82\xac";
  std::vector<std::pair<std::string, std::string>> violations;
  for (int i = 0; i < 1000; ++i) violations.emplace_back(absl::StrCat("f", i), "is bad");
  const grpc::Status status = ToGrpcStatus(WithReason(
      WithFieldViolations(absl::InvalidArgumentError(message), violations), "EDIT_INVALID"));
  EXPECT_LT(status.error_message().size(), 700u);
  EXPECT_THAT(status.error_message(), testing::EndsWith("\xe2\x82\xac..."));
  EXPECT_LT(status.error_details().size(), 4000u);
  google::rpc::Status rpc;
  ASSERT_TRUE(rpc.ParseFromString(status.error_details()));
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(rpc).reason(), "EDIT_INVALID");
  const auto bad = DetailOf<google::rpc::BadRequest>(rpc);
  EXPECT_GT(bad.field_violations_size(), 10);
  EXPECT_EQ(bad.field_violations(0).field(), "f0");
}

TEST(ErrorsTest, BytesThatAreNotUtf8AreWrittenAsEscapes) {
  const google::rpc::Status rpc = ToRpcStatus(absl::InvalidArgumentError("subject \"\xff\""));
  EXPECT_THAT(rpc.message(), HasSubstr("\\xff"));
  google::rpc::Status parsed;
  EXPECT_TRUE(parsed.ParseFromString(rpc.SerializeAsString()));
}

TEST(ErrorsTest, Utf8StaysAsItIs) {
  EXPECT_EQ(ToRpcStatus(absl::InvalidArgumentError("Zürich")).message(), "Zürich");
}

TEST(ErrorsTest, TheReasonCanBeReadFromWhatGoesOverTheWire) {
  const absl::Status full = WithRetryDelay(
      WithReason(absl::ResourceExhaustedError("full"), "QUEUE_FULL"), absl::Seconds(1));
  EXPECT_EQ(ReasonOf(ToGrpcStatus(full)), "QUEUE_FULL");
  EXPECT_EQ(ReasonOf(grpc::Status::OK), "");
  EXPECT_EQ(ReasonOf(grpc::Status(grpc::StatusCode::INTERNAL, "x", "not a message")), "");
}

}  // namespace
}  // namespace amend
