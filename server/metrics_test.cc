#include "server/metrics.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::Time kNow = absl::FromUnixSeconds(1000);

TEST(MetricsTest, ABatchIsCountedWithItsEdits) {
  Metrics metrics;
  metrics.BatchFinished(BatchOutcome::kLive, 30);
  metrics.BatchFinished(BatchOutcome::kRejected, 2);
  metrics.EditsDropped(3);
  const std::string text = metrics.Text(kNow);
  EXPECT_THAT(text, HasSubstr("amend_edit_batches_total{outcome=\"live\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_edits_total{outcome=\"live\"} 30\n"));
  EXPECT_THAT(text, HasSubstr("amend_edits_total{outcome=\"rejected\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("amend_edits_total{outcome=\"failed\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("amend_edits_total{outcome=\"dropped\"} 3\n"));
}

TEST(MetricsTest, TheOldestBatchAgesUntilTheQueueIsEmpty) {
  Metrics metrics;
  metrics.QueueChanged(3, kNow - absl::Seconds(5));
  EXPECT_THAT(metrics.Text(kNow), HasSubstr("amend_edit_queue_oldest_age_seconds 5\n"));
  EXPECT_THAT(metrics.Text(kNow + absl::Seconds(2)),
              HasSubstr("amend_edit_queue_oldest_age_seconds 7\n"));
  EXPECT_THAT(metrics.Text(kNow), HasSubstr("amend_edit_queue_depth 3\n"));
  metrics.QueueChanged(0, absl::InfinitePast());
  EXPECT_THAT(metrics.Text(kNow), HasSubstr("amend_edit_queue_oldest_age_seconds 0\n"));
}

TEST(MetricsTest, StagesScoresAndPromotionsHaveTheirLabels) {
  Metrics metrics;
  metrics.StageDone(EditStage::kGate, absl::Milliseconds(20));
  metrics.GateScore(GateCheck::kLocality, 0.75);
  metrics.GateScore(GateCheck::kFluency, -0.01);
  metrics.GateRejected(GateCheck::kFinite);
  metrics.GateRejected(GateCheck::kRetention);
  metrics.Promoted(PromotionResult::kConflict);
  metrics.RolledBack();
  metrics.EditsWithdrawn(BatchOutcome::kLive, 2);
  metrics.UpdateNormRatio(LayerIndex(4), 0.5);
  const std::string text = metrics.Text(kNow);
  EXPECT_THAT(text, HasSubstr("amend_edit_stage_duration_seconds_count{stage=\"gate\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_gate_score{check=\"locality\"} 0.75\n"));
  EXPECT_THAT(text, HasSubstr("amend_gate_rejections_total{check=\"finite\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_gate_score{check=\"fluency\"} -0.01\n"));
  EXPECT_THAT(text, HasSubstr("amend_gate_rejections_total{check=\"retention\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_promotions_total{result=\"conflict\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_rollbacks_total{trigger=\"request\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_edits_withdrawn_total{outcome=\"live\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("amend_hook_update_norm_ratio{layer=\"4\"} 0.5\n"));
}

TEST(MetricsTest, WhatMayHappenIsThereBeforeItDoes) {
  const std::string text = Metrics().Text(kNow);
  for (const char* series : {"amend_edits_withdrawn_total{outcome=\"rejected\"} 0\n",
                             "amend_edit_stage_duration_seconds_count{stage=\"keys\"} 0\n",
                             "amend_edit_stage_duration_seconds_count{stage=\"persist\"} 0\n",
                             "amend_gate_rejections_total{check=\"retention\"} 0\n",
                             "amend_promotions_total{result=\"failed\"} 0\n",
                             "amend_rollbacks_total{trigger=\"request\"} 0\n"}) {
    EXPECT_THAT(text, HasSubstr(series));
  }
}

TEST(MetricsTest, OnlyTheLiveRevisionIsShown) {
  Metrics metrics;
  metrics.LiveRevisionChanged(Revision(1));
  metrics.LiveRevisionChanged(Revision(2));
  metrics.LiveRevisionChanged(Revision(2));
  const std::string text = metrics.Text(kNow);
  EXPECT_THAT(text, HasSubstr("amend_live_revision_info{revision=\"2\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("revision=\"1\"")));
}

TEST(MetricsTest, ARequestIsCountedWithItsTokens) {
  Metrics metrics;
  metrics.OnSequences(2, 1);
  metrics.OnKvCache(24, 96);
  metrics.OnStep(2);
  metrics.OnHooks(8, 2);
  metrics.OnPreemption();
  metrics.OnFirstToken(absl::Milliseconds(30));
  metrics.OnInterToken(absl::Milliseconds(3));
  metrics.OnRequestEnd({"length", absl::Seconds(1), 7, 5, 4, 2});
  const std::string text = metrics.Text(kNow);
  EXPECT_THAT(text, HasSubstr("amend_num_requests_running 2\n"));
  EXPECT_THAT(text, HasSubstr("amend_num_requests_waiting 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_batch_size_bucket{le=\"1\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("amend_batch_size_bucket{le=\"2\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_hook_fired_ratio_bucket{le=\"0.1\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("amend_hook_fired_ratio_bucket{le=\"0.25\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_time_to_first_token_seconds_count 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_inter_token_latency_seconds_bucket{le=\"0.0025\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("amend_inter_token_latency_seconds_bucket{le=\"0.005\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_requests_total{finish_reason=\"length\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_prompt_tokens_total 7\n"));
  EXPECT_THAT(text, HasSubstr("amend_prompt_tokens_cached_total 4\n"));
  EXPECT_THAT(text, HasSubstr("amend_prompt_tokens_partly_cached_total 2\n"));
  EXPECT_THAT(text, HasSubstr("amend_kv_cache_usage_ratio 0.25\n"));
  EXPECT_THAT(text, HasSubstr("amend_preemptions_total 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_generation_tokens_total 5\n"));
}

TEST(MetricsTest, TokensCountBeforeTheirRequestEnds) {
  Metrics metrics;
  metrics.OnKvCache(24, 96);
  metrics.OnFirstToken(absl::Milliseconds(30));
  metrics.OnInterToken(absl::Milliseconds(3));
  metrics.OnInterToken(absl::Milliseconds(3));
  EXPECT_EQ(metrics.serving().tokens, 3);
  EXPECT_EQ(metrics.serving().kv_cache_usage_ratio, 0.25);
}

TEST(MetricsTest, RejectionsAreCountedByReason) {
  Metrics metrics;
  metrics.OnRejection("QUEUE_FULL");
  EXPECT_THAT(metrics.Text(kNow), HasSubstr("amend_rejections_total{reason=\"QUEUE_FULL\"} 1\n"));
}

TEST(MetricsTest, RpcsAreCountedByCode) {
  Metrics metrics;
  metrics.RpcStarted("unary", "amend.v1.GenerationService", "Generate");
  metrics.RpcHandled("unary", "amend.v1.GenerationService", "Generate", "NOT_FOUND",
                     absl::Milliseconds(1));
  const std::string text = metrics.Text(kNow);
  EXPECT_THAT(text,
              HasSubstr("grpc_server_started_total{grpc_method=\"Generate\","
                        "grpc_service=\"amend.v1.GenerationService\",grpc_type=\"unary\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("grpc_server_handled_total{grpc_code=\"NOT_FOUND\""));
  EXPECT_THAT(text, HasSubstr("grpc_server_handling_seconds_count{"));
}

TEST(MetricsTest, StoreWritesAreTimedAndFailuresCounted) {
  Metrics metrics;
  metrics.StoreSynced(absl::Milliseconds(2), true);
  metrics.StoreSynced(absl::Milliseconds(2), false);
  const std::string text = metrics.Text(kNow);
  EXPECT_THAT(text, HasSubstr("amend_store_sync_duration_seconds_count 2\n"));
  EXPECT_THAT(text, HasSubstr("amend_store_errors_total{kind=\"write\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_store_read_only 0\n"));
  metrics.Recovered(absl::Milliseconds(1500));
  EXPECT_THAT(metrics.Text(kNow), HasSubstr("amend_recovery_seconds 1.5\n"));
  metrics.StoreReadOnly(true);
  EXPECT_THAT(metrics.Text(absl::UnixEpoch()), HasSubstr("amend_store_read_only 1\n"));
}

TEST(MetricsTest, FailuresOfTheStoreAreCountedByKindAndDamageByItself) {
  Metrics metrics;
  metrics.StoreReadFailed();
  metrics.StoreBackgroundFailed();
  metrics.StoreDamaged(3);
  const std::string text = metrics.Text(kNow);
  EXPECT_THAT(text, HasSubstr("amend_store_errors_total{kind=\"read\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_store_errors_total{kind=\"background\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("amend_store_errors_total{kind=\"write\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("amend_store_digest_mismatches_total 3\n"));
}

TEST(MetricsTest, TheStoresUsageIsShownAndItsStallsOnlyGrow) {
  Metrics metrics;
  metrics.SetStoreUsage({{{"factors", 4096}, {"ledger", 100}}, 1.5, true});
  metrics.SetStoreUsage({{{"factors", 2048}, {"ledger", 100}}, 1.25, false});
  const std::string text = metrics.Text(kNow);
  EXPECT_THAT(text, HasSubstr("amend_store_bytes{column_family=\"factors\"} 2048\n"));
  EXPECT_THAT(text, HasSubstr("amend_store_bytes{column_family=\"ledger\"} 100\n"));
  EXPECT_THAT(text, HasSubstr("amend_store_stall_seconds_total 1.5\n"));
  EXPECT_THAT(text, HasSubstr("amend_store_writes_stopped 0\n"));
}

TEST(MetricsTest, BuildAndProcessAreShown) {
  Metrics metrics;
  metrics.SetBuildInfo("1.2.3", "gpt2", "cpu", "float32");
  const std::string text = metrics.Text(kNow);
  EXPECT_THAT(text, HasSubstr("version=\"1.2.3\""));
  EXPECT_THAT(text, HasSubstr("# TYPE process_cpu_seconds_total counter\n"));
  EXPECT_THAT(text, HasSubstr("process_resident_memory_bytes "));
  EXPECT_THAT(text, Not(HasSubstr("process_resident_memory_bytes 0\n")));
  EXPECT_THAT(text, HasSubstr("amend_memory_limit_bytes "));
  EXPECT_THAT(text, Not(HasSubstr("amend_memory_limit_bytes 0\n")));
  EXPECT_THAT(text, Not(HasSubstr("process_start_time_seconds 0\n")));
  EXPECT_THAT(text, Not(HasSubstr("process_open_fds 0\n")));
}

}  // namespace
}  // namespace amend
