#include "server/trace_context.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr char kGood[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

std::function<uint64_t()> Counting() {
  return [next = uint64_t{0}]() mutable { return next++; };
}

TEST(TraceContextTest, AHeaderIsReadAndWritten) {
  const auto context = ParseTraceparent(kGood);
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(context->trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(context->span_id, "00f067aa0ba902b7");
  EXPECT_EQ(context->flags, "01");
  EXPECT_EQ(TraceparentOf(*context), kGood);
}

TEST(TraceContextTest, ALaterVersionMayHaveMore) {
  EXPECT_TRUE(ParseTraceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what"));
}

TEST(TraceContextTest, WhatIsMalformedIsNothing) {
  for (const char* header :
       {"", "-", "---", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"}) {
    EXPECT_FALSE(ParseTraceparent(header).has_value()) << header;
  }
}

TEST(TraceContextTest, AStepStaysInItsCallersTrace) {
  const auto caller = ParseTraceparent(kGood);
  const TraceContext step = NewSpan(caller, Counting());
  EXPECT_EQ(step.trace_id, caller->trace_id);
  EXPECT_EQ(step.flags, "01");
  EXPECT_EQ(step.span_id, "0000000000000001");
}

TEST(TraceContextTest, WithoutACallerATraceBegins) {
  const TraceContext step = NewSpan(std::nullopt, Counting());
  EXPECT_EQ(TraceparentOf(step), "00-00000000000000010000000000000002-0000000000000003-00");
  EXPECT_TRUE(ParseTraceparent(TraceparentOf(step)).has_value());
}

}  // namespace
}  // namespace amend
