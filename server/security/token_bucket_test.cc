#include "server/security/token_bucket.h"

#include "gtest/gtest.h"

namespace amend {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1000);
constexpr BucketLimit kTwoASecond{2, 4};

TEST(TokenBucketTest, ABurstThenTheRate) {
  TokenBucket bucket;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(bucket.Take(1, kTwoASecond, kStart), absl::ZeroDuration()) << i;
  }
  EXPECT_EQ(bucket.Take(1, kTwoASecond, kStart), absl::Milliseconds(500));
  EXPECT_EQ(bucket.Take(1, kTwoASecond, kStart + absl::Milliseconds(499)), absl::Milliseconds(1));
  EXPECT_EQ(bucket.Take(1, kTwoASecond, kStart + absl::Milliseconds(500)), absl::ZeroDuration());
}

TEST(TokenBucketTest, WhatIsRefusedCostsNothing) {
  TokenBucket bucket;
  bucket.Take(4, kTwoASecond, kStart);
  for (int i = 0; i < 100; ++i) bucket.Take(1, kTwoASecond, kStart);
  EXPECT_EQ(bucket.WaitFor(1, kTwoASecond, kStart), absl::Milliseconds(500));
}

TEST(TokenBucketTest, APauseFillsItUpToTheCapacityAndNotBeyond) {
  TokenBucket bucket;
  bucket.Take(4, kTwoASecond, kStart);
  const absl::Time later = kStart + absl::Hours(1);
  EXPECT_EQ(bucket.Take(4, kTwoASecond, later), absl::ZeroDuration());
  EXPECT_GT(bucket.Take(1, kTwoASecond, later), absl::ZeroDuration());
}

TEST(TokenBucketTest, MoreThanTheCapacityIsTakenFromAFullOneAndIsADebt) {
  TokenBucket bucket;
  EXPECT_EQ(bucket.Take(10, kTwoASecond, kStart), absl::ZeroDuration());
  // 6 below zero: 3 s to zero, half a second more for one.
  EXPECT_EQ(bucket.WaitFor(1, kTwoASecond, kStart), absl::Milliseconds(3500));
}

TEST(TokenBucketTest, AChargeIsNeverRefused) {
  TokenBucket bucket;
  bucket.Charge(5, kTwoASecond, kStart);
  EXPECT_EQ(bucket.WaitFor(1, kTwoASecond, kStart), absl::Seconds(1));
}

TEST(TokenBucketTest, WithoutARateThereIsNoLimit) {
  TokenBucket bucket;
  bucket.Charge(1e9, {}, kStart);
  EXPECT_EQ(bucket.Take(1e9, {}, kStart), absl::ZeroDuration());
}

TEST(TokenBucketTest, AClockThatGoesBackFillsNothing) {
  TokenBucket bucket;
  bucket.Take(4, kTwoASecond, kStart);
  EXPECT_EQ(bucket.WaitFor(1, kTwoASecond, kStart - absl::Hours(1)), absl::Milliseconds(500));
  EXPECT_EQ(bucket.WaitFor(1, kTwoASecond, kStart), absl::Milliseconds(500));
}

}  // namespace
}  // namespace amend
