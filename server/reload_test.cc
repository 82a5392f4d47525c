#include "server/reload.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ReloadTest, WhatIsTheSameIsNotNamed) {
  ServerOptions current;
  const ReloadReport report = TakeReloadable(ServerOptions(), &current);
  EXPECT_THAT(report.changed, IsEmpty());
  EXPECT_THAT(report.need_restart, IsEmpty());
}

TEST(ReloadTest, WhatCanChangeIsTakenAndTheRestIsNamed) {
  ServerOptions current;
  ServerOptions wanted;
  wanted.drain_time = absl::Seconds(2.5);
  wanted.log_level = "debug";
  wanted.retention.keep_newest = 4;
  wanted.limits.max_waiting_sequences = 3;
  wanted.threads = 2;
  wanted.limits.edit_credits = 1;
  wanted.grpc_address = "[::1]:7";
  const ReloadReport report = TakeReloadable(wanted, &current);
  EXPECT_THAT(report.changed, ElementsAre("drain_seconds", "keep_revisions", "log_level",
                                          "limits.max_waiting_sequences"));
  EXPECT_THAT(report.need_restart, ElementsAre("listen", "threads", "limits.edit_credits"));
  EXPECT_EQ(current.drain_time, absl::Seconds(2.5));
  EXPECT_EQ(current.log_level, "debug");
  EXPECT_EQ(current.retention.keep_newest, 4);
  EXPECT_EQ(current.limits.max_waiting_sequences, 3);
  EXPECT_EQ(current.threads, 0);
  EXPECT_EQ(current.limits.edit_credits, 16);
}

TEST(ReloadTest, OfAProfileTheThresholdsOfTheGateAreTaken) {
  v1::Profile current;
  current.mutable_gate()->set_reliability(0.5);
  v1::Profile wanted = current;
  ReloadReport same;
  TakeThresholds(wanted, &current, &same);
  EXPECT_THAT(same.changed, IsEmpty());
  EXPECT_THAT(same.need_restart, IsEmpty());

  wanted.mutable_gate()->set_max_perplexity_change(0.1);
  ReloadReport thresholds;
  TakeThresholds(wanted, &current, &thresholds);
  EXPECT_THAT(thresholds.changed, ElementsAre("profile.gate"));
  EXPECT_THAT(thresholds.need_restart, IsEmpty());
  EXPECT_EQ(current.gate().max_perplexity_change(), 0.1);
}

TEST(ReloadTest, AProfileThatDiffersInMoreWantsARestart) {
  v1::Profile current;
  v1::Profile wanted;
  wanted.mutable_gate()->set_reliability(0.5);
  wanted.mutable_gate()->set_mode(v1::GateSettings::REPORT);
  ReloadReport report;
  TakeThresholds(wanted, &current, &report);
  EXPECT_THAT(report.changed, IsEmpty());
  EXPECT_THAT(report.need_restart, ElementsAre("profile"));
  EXPECT_EQ(current.gate().reliability(), 0);
}

}  // namespace
}  // namespace amend
