#include "server/out_of_memory.h"

#include <new>
#include <stdexcept>

#include "core/base/memory_reserve.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

using ::testing::HasSubstr;

bool HasRetryInfo(const absl::Status& status) {
  const google::rpc::Status sent = ToRpcStatus(status);
  for (const auto& detail : sent.details()) {
    if (detail.Is<google::rpc::RetryInfo>()) return true;
  }
  return false;
}

TEST(OutOfMemoryTest, ABadAllocIsAReasonToTryAgain) {
  const absl::Status status =
      CatchOutOfMemory("scoring", []() -> absl::Status { throw std::bad_alloc(); });
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("scoring")));
  EXPECT_EQ(ReasonOf(status), "OUT_OF_MEMORY");
  EXPECT_TRUE(HasRetryInfo(status));
}

TEST(OutOfMemoryTest, AFullQueueKeepsItsReason) {
  const absl::Status full = WithReason(absl::ResourceExhaustedError("full"), "QUEUE_FULL");
  EXPECT_EQ(FromMemory(full), full);
}

// A store says so of a full disk.
TEST(OutOfMemoryTest, WhatTheWorkReturnsStaysAsItIs) {
  const absl::Status full = absl::ResourceExhaustedError("no space left");
  EXPECT_EQ(CatchOutOfMemory("reading", [&] { return full; }), full);
}

TEST(OutOfMemoryTest, OtherErrorsHaveNoReasonOfMemory) {
  EXPECT_EQ(FromMemory(absl::InternalError("x")), absl::InternalError("x"));
  EXPECT_EQ(FromMemory(absl::OkStatus()), absl::OkStatus());
  const absl::Status status =
      CatchOutOfMemory("scoring", []() -> absl::Status { throw std::runtime_error("x"); });
  EXPECT_EQ(status, absl::InternalError("scoring: x"));
}

TEST(OutOfMemoryTest, MemoryIsLeftWhileNothingFailed) {
  EXPECT_EQ(CheckMemoryIsLeft(), absl::OkStatus());
}

TEST(OutOfMemoryTest, MemoryThatIsShortIsNoTroubleOfTheStore) {
  EXPECT_FALSE(IsStoreTrouble(FromMemory(absl::ResourceExhaustedError("x"))));
}

}  // namespace
}  // namespace amend
