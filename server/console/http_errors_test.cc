#include "server/console/http_errors.h"

#include <nlohmann/json.hpp>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(HttpErrorsTest, AnErrorKeepsItsCodeMessageReasonAndMetadata) {
  const HttpReply reply =
      ErrorReply(WithReason(absl::NotFoundError("no revision 7; the latest is 3"),
                            "REVISION_NOT_FOUND", {{"revision", "7"}}));
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(reply.content_type, "application/json");
  EXPECT_THAT(reply.headers, IsEmpty());
  const nlohmann::json error = nlohmann::json::parse(reply.body)["error"];
  EXPECT_EQ(error["code"], 404);
  EXPECT_EQ(error["status"], "NOT_FOUND");
  EXPECT_EQ(error["message"], "no revision 7; the latest is 3");
  EXPECT_EQ(error["reason"], "REVISION_NOT_FOUND");
  EXPECT_EQ(error["metadata"]["revision"], "7");
}

TEST(HttpErrorsTest, AnErrorWithoutAReasonHasItsCodesName) {
  const HttpReply reply = ErrorReply(grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "late"));
  EXPECT_EQ(reply.status, 504);
  EXPECT_EQ(nlohmann::json::parse(reply.body)["error"]["reason"], "DEADLINE_EXCEEDED");
}

TEST(HttpErrorsTest, ARetryDelayIsRetryAfterInWholeSeconds) {
  const auto full = [](absl::Duration delay) {
    return ErrorReply(
        WithRetryDelay(WithReason(absl::ResourceExhaustedError("full"), "QUEUE_FULL"), delay));
  };
  EXPECT_EQ(full(absl::Milliseconds(200)).status, 429);
  EXPECT_THAT(full(absl::Milliseconds(200)).headers, Contains(Pair("Retry-After", "1")));
  EXPECT_THAT(full(absl::Milliseconds(1200)).headers, Contains(Pair("Retry-After", "2")));
  EXPECT_THAT(full(absl::Seconds(3)).headers, Contains(Pair("Retry-After", "3")));
}

TEST(HttpErrorsTest, WhoIsNotKnownIsAskedForAToken) {
  const HttpReply reply = ErrorReply(absl::UnauthenticatedError("no token"));
  EXPECT_EQ(reply.status, 401);
  EXPECT_THAT(reply.headers, Contains(Pair("WWW-Authenticate", "Bearer")));
}

TEST(HttpErrorsTest, AMessageThatIsNotUtf8IsStillJson) {
  const HttpReply reply = ErrorReply(grpc::Status(grpc::StatusCode::INTERNAL, "a\xff z"));
  EXPECT_EQ(reply.status, 500);
  EXPECT_EQ(nlohmann::json::parse(reply.body)["error"]["message"], "a\xef\xbf\xbd z");
}

}  // namespace
}  // namespace amend
