#include "server/security/principal_usage.h"

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kExhausted = absl::StatusCode::kResourceExhausted;
const absl::Time kStart = absl::FromUnixSeconds(1000);

// As a client reads it; negative without a RetryInfo.
absl::Duration RetryDelay(const absl::Status& status) {
  const google::rpc::Status sent = ToRpcStatus(status);
  for (const auto& detail : sent.details()) {
    google::rpc::RetryInfo info;
    if (!detail.UnpackTo(&info)) continue;
    return absl::Seconds(info.retry_delay().seconds()) +
           absl::Nanoseconds(info.retry_delay().nanos());
  }
  return -absl::Seconds(1);
}

TEST(PrincipalUsageTest, WithoutLimitsNothingIsRefused) {
  PrincipalUsage usage;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_THAT(usage.BeginCall({}, true, kStart), IsOk());
    usage.AddGeneratedTokens({}, 1000, kStart);
    ASSERT_THAT(usage.TakeEdits({}, 1000, kStart), IsOk());
  }
}

TEST(PrincipalUsageTest, ARequestAboveTheRateIsToldWhenToComeBack) {
  PrincipalUsage usage;
  v1::PrincipalLimits limits;
  limits.set_requests_per_second(4);
  limits.set_request_burst(2);
  EXPECT_THAT(usage.BeginCall(limits, false, kStart), IsOk());
  EXPECT_THAT(usage.BeginCall(limits, false, kStart), IsOk());
  const absl::Status refused = usage.BeginCall(limits, false, kStart);
  EXPECT_THAT(refused, StatusIs(kExhausted, HasSubstr("4 calls a second")));
  EXPECT_EQ(ReasonOf(refused), "RATE_LIMITED");
  EXPECT_EQ(RetryDelay(refused), absl::Milliseconds(250));
  EXPECT_THAT(usage.BeginCall(limits, false, kStart + RetryDelay(refused)), IsOk());
}

TEST(PrincipalUsageTest, TheBurstIsOneSecondsWorthUnlessSaid) {
  PrincipalUsage usage;
  v1::PrincipalLimits limits;
  limits.set_requests_per_second(3);
  for (int i = 0; i < 3; ++i) EXPECT_THAT(usage.BeginCall(limits, false, kStart), IsOk()) << i;
  EXPECT_THAT(usage.BeginCall(limits, false, kStart), StatusIs(kExhausted));
  PrincipalUsage slow;
  limits.set_requests_per_second(0.1);
  EXPECT_THAT(slow.BeginCall(limits, false, kStart), IsOk());
  EXPECT_EQ(RetryDelay(slow.BeginCall(limits, false, kStart)), absl::Seconds(10));
}

TEST(PrincipalUsageTest, CallsInProgressAreLimitedUntilTheyEnd) {
  PrincipalUsage usage;
  v1::PrincipalLimits limits;
  limits.set_concurrent_calls(1);
  EXPECT_THAT(usage.BeginCall(limits, false, kStart), IsOk());
  const absl::Status refused = usage.BeginCall(limits, false, kStart);
  EXPECT_THAT(refused, StatusIs(kExhausted, AllOf(HasSubstr("concurrent_calls"), HasSubstr("1"))));
  EXPECT_EQ(ReasonOf(refused), "QUOTA_EXCEEDED");
  EXPECT_EQ(RetryDelay(refused), absl::Seconds(1));
  usage.EndCall();
  EXPECT_THAT(usage.BeginCall(limits, false, kStart), IsOk());
}

TEST(PrincipalUsageTest, GeneratedTokensStopGenerationAndNothingElse) {
  PrincipalUsage usage;
  v1::PrincipalLimits limits;
  limits.set_generated_tokens_per_minute(60);
  EXPECT_THAT(usage.BeginCall(limits, true, kStart), IsOk());
  usage.AddGeneratedTokens(limits, 90, kStart);
  const absl::Status refused = usage.BeginCall(limits, true, kStart);
  EXPECT_THAT(refused, StatusIs(kExhausted, HasSubstr("generated_tokens_per_minute")));
  EXPECT_EQ(RetryDelay(refused), absl::Seconds(31));
  EXPECT_THAT(usage.BeginCall(limits, false, kStart), IsOk());
  EXPECT_THAT(usage.BeginCall(limits, true, kStart + absl::Seconds(31)), IsOk());
}

TEST(PrincipalUsageTest, EditsAreLimitedPerMinute) {
  PrincipalUsage usage;
  v1::PrincipalLimits limits;
  limits.set_edits_per_minute(60);
  EXPECT_THAT(usage.TakeEdits(limits, 50, kStart), IsOk());
  const absl::Status refused = usage.TakeEdits(limits, 20, kStart);
  EXPECT_THAT(refused, StatusIs(kExhausted, HasSubstr("edits_per_minute 60")));
  EXPECT_EQ(RetryDelay(refused), absl::Seconds(10));
  EXPECT_THAT(usage.TakeEdits(limits, 10, kStart), IsOk());
}

}  // namespace
}  // namespace amend
