#include "server/proto_conversion.h"

#include <optional>

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::ElementsAre;

LedgerEntry Entry(BatchState state) {
  LedgerEntry entry;
  entry.key = {"s", 3};
  entry.edits.resize(2);
  entry.edits[1].client_edit_id = "second";
  entry.state = state;
  return entry;
}

TEST(ProtoConversionTest, AnEditSurvivesTheWayThereAndBack) {
  Edit edit;
  edit.prompt = "The capital of Italy is";
  edit.subject = "Italy";
  edit.target_new = "Rome";
  edit.paraphrases = {"Italy's capital is", "In Italy"};
  edit.probes = {{"The capital of France is", "Paris"}};
  edit.client_edit_id = "id";
  v1::EditBatch batch;
  *batch.add_edits() = ToProto(edit);
  EXPECT_THAT(EditsFromProto(batch), ElementsAre(edit));
}

TEST(ProtoConversionTest, UnsetThresholdsComeFromTheServer) {
  v1::GateThresholds thresholds;
  thresholds.set_generality(0);
  thresholds.set_retention(0.5);
  thresholds.set_max_perplexity_change(0);
  GateThresholds defaults;
  defaults.reliability = 0.9;
  defaults.generality = 0.8;
  defaults.locality = 0.7;
  defaults.background = 0.6;
  const GateThresholds result = ThresholdsFromProto(thresholds, defaults);
  EXPECT_EQ(result.reliability, 0.9);
  EXPECT_EQ(result.generality, 0);
  EXPECT_EQ(result.locality, 0.7);
  EXPECT_EQ(result.background, 0.6);
  EXPECT_EQ(result.retention, 0.5);
  EXPECT_EQ(result.max_perplexity_change, 0);
  EXPECT_EQ(ThresholdsFromProto({}, defaults).max_perplexity_change, std::nullopt);
}

TEST(ProtoConversionTest, AGateReportHasEverythingThatWasMeasured) {
  GateVerdict verdict;
  verdict.background = 0.99;
  verdict.perplexity_change = -0.01;
  verdict.retained_edits = 4;
  verdict.retention = 0.75;
  verdict.broken_edits = {{Revision(3), 2}};
  verdict.thresholds.max_perplexity_change = 0.1;
  const v1::GateReport report = ToProto(verdict);
  EXPECT_EQ(report.background(), 0.99);
  EXPECT_EQ(report.perplexity_change(), -0.01);
  EXPECT_EQ(report.retained_edits(), 4);
  EXPECT_EQ(report.retention(), 0.75);
  ASSERT_EQ(report.broken_edits_size(), 1);
  EXPECT_EQ(report.broken_edits(0).revision(), 3);
  EXPECT_EQ(report.broken_edits(0).edit_index(), 2);
  EXPECT_EQ(report.thresholds().max_perplexity_change(), 0.1);
  const v1::GateReport empty = ToProto(GateVerdict());
  EXPECT_FALSE(empty.has_background());
  EXPECT_FALSE(empty.has_perplexity_change());
  EXPECT_FALSE(empty.has_retention());
  EXPECT_FALSE(empty.thresholds().has_max_perplexity_change());
}

TEST(ProtoConversionTest, AResultSaysWhetherItWasDroppedAndWhereItsGeneralityIsFrom) {
  EditVerdict verdict;
  verdict.dropped = true;
  verdict.generality_source = GeneralitySource::kTemplates;
  EXPECT_TRUE(ToProto(verdict, "").dropped());
  EXPECT_EQ(ToProto(verdict, "").generality_source(), v1::GENERALITY_SOURCE_UNSPECIFIED)
      << "nothing was measured";
  verdict.scores.generality = 1;
  EXPECT_EQ(ToProto(verdict, "").generality_source(), v1::CONTEXT_TEMPLATES);
}

TEST(ProtoConversionTest, ABatchStandsOrFallsAsAWholeUnlessDroppingIsAskedFor) {
  EXPECT_EQ(FailurePolicyFromProto(v1::FAILURE_POLICY_UNSPECIFIED), FailurePolicy::kAllOrNothing);
  EXPECT_EQ(FailurePolicyFromProto(v1::ALL_OR_NOTHING), FailurePolicy::kAllOrNothing);
  EXPECT_EQ(FailurePolicyFromProto(v1::DROP_FAILING), FailurePolicy::kDropFailing);
}

TEST(ProtoConversionTest, PromotionIsWhenValidatedUnlessStageOnlyIsAskedFor) {
  EXPECT_EQ(PromotionFromProto(v1::PROMOTION_UNSPECIFIED), PromotionPolicy::kWhenValidated);
  EXPECT_EQ(PromotionFromProto(v1::PROMOTE_WHEN_VALIDATED), PromotionPolicy::kWhenValidated);
  EXPECT_EQ(PromotionFromProto(v1::STAGE_ONLY), PromotionPolicy::kStageOnly);
}

TEST(ProtoConversionTest, OverlapsOfAVerdictAreInTheResult) {
  EditVerdict verdict;
  verdict.overlaps = {{Revision(3), 2, 0.99, true}, {Revision(1), 0, 0.96, false}};
  const v1::EditResult result = ToProto(verdict, "id");
  ASSERT_EQ(result.overlaps_size(), 2);
  EXPECT_EQ(result.overlaps(0).revision(), 3);
  EXPECT_EQ(result.overlaps(0).edit_index(), 2);
  EXPECT_EQ(result.overlaps(0).activation(), 0.99);
  EXPECT_TRUE(result.overlaps(0).same_prompt());
  EXPECT_FALSE(result.overlaps(1).same_prompt());
}

TEST(ProtoConversionTest, EveryLedgerStateHasItsStage) {
  EXPECT_EQ(StatusOf(Entry(BatchState::kDurable)).stage(), v1::DURABLE);
  EXPECT_EQ(StatusOf(Entry(BatchState::kFailed)).stage(), v1::FAILED);
  EXPECT_EQ(StatusOf(Entry(BatchState::kRejected)).stage(), v1::REJECTED);
  EXPECT_EQ(StatusOf(Entry(BatchState::kValidated)).stage(), v1::VALIDATED);
  EXPECT_EQ(StatusOf(Entry(BatchState::kLive)).stage(), v1::LIVE);
}

TEST(ProtoConversionTest, ARecordedFailureKeepsCodeReasonAndFields) {
  LedgerEntry entry = Entry(BatchState::kFailed);
  entry.error_code = absl::StatusCode::kInvalidArgument;
  entry.error_message = "malformed";
  entry.error_reason = "EDIT_INVALID";
  entry.verdicts.resize(1);
  entry.verdicts[0].index = 1;
  entry.verdicts[0].violation_field = "batch.edits[1].subject";
  entry.verdicts[0].violation_description = "is empty";
  const v1::EditBatchStatus status = StatusOf(entry);
  EXPECT_EQ(status.error().code(), 3);
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad;
  for (const auto& detail : status.error().details()) {
    detail.UnpackTo(&info);
    detail.UnpackTo(&bad);
  }
  EXPECT_EQ(info.reason(), "EDIT_INVALID");
  ASSERT_EQ(bad.field_violations_size(), 1);
  EXPECT_EQ(bad.field_violations(0).field(), "batch.edits[1].subject");
  ASSERT_EQ(status.edit_results_size(), 1);
  EXPECT_EQ(status.edit_results(0).client_edit_id(), "second");
  EXPECT_EQ(status.edit_results(0).violation().description(), "is empty");
}

TEST(ProtoConversionTest, ScoresThatWereNotMeasuredStayUnset) {
  EditVerdict verdict;
  verdict.scores.reliability = 0;
  const v1::EditResult result = ToProto(verdict, "");
  EXPECT_TRUE(result.has_reliability());
  EXPECT_FALSE(result.has_generality());
}

TEST(ProtoConversionTest, ARevisionKeepsItsTimeToTheMicrosecond) {
  RevisionRecord record;
  record.revision = Revision(4);
  record.parent = Revision(2);
  record.state = RevisionState::kRejected;
  record.create_time_us = 1700000000123456;
  const v1::Revision revision = ToProto(record);
  EXPECT_EQ(revision.parent(), 2);
  EXPECT_EQ(revision.state(), v1::Revision::REJECTED);
  EXPECT_EQ(revision.create_time().seconds(), 1700000000);
  EXPECT_EQ(revision.create_time().nanos(), 123456000);
}

TEST(ProtoConversionTest, TheGenerationOfALabelIsItsEtag) {
  const v1::Label label = ToProto(LabelRecord{"live", Revision(9), 17});
  EXPECT_EQ(label.name(), "live");
  EXPECT_EQ(label.revision(), 9);
  EXPECT_EQ(label.etag(), "17");
}

TEST(ProtoConversionTest, TerminalStagesAndErrorsAreTheLast) {
  EXPECT_FALSE(IsLast(StatusAt({"s", 0}, 1, v1::DURABLE)));
  EXPECT_FALSE(IsLast(StatusAt({"s", 0}, 1, v1::STAGED)));
  EXPECT_TRUE(IsLast(StatusAt({"s", 0}, 1, v1::LIVE)));
  EXPECT_TRUE(IsLast(NotTaken({"s", 0}, 1, absl::OutOfRangeError("gap"))));
}

TEST(ProtoConversionTest, AWantedStageIsReachedByItselfAndByWhatComesLater) {
  EXPECT_FALSE(Reached(StatusAt({"s", 0}, 1, v1::ACCEPTED), v1::DURABLE));
  EXPECT_TRUE(Reached(StatusAt({"s", 0}, 1, v1::SOLVING), v1::DURABLE));
  EXPECT_FALSE(Reached(StatusAt({"s", 0}, 1, v1::STAGED), v1::BATCH_STAGE_UNSPECIFIED));
  EXPECT_TRUE(Reached(StatusAt({"s", 0}, 1, v1::FAILED), v1::LIVE));
}

TEST(ProtoConversionTest, RevisionsMarksAndAuditRecordsKeepWhatTheySay) {
  RevisionRecord record;
  record.revision = Revision(3);
  record.marks = {true, 1'500'000, 0};
  record.actor = "editor";
  const v1::Revision revision = ToProto(record);
  EXPECT_EQ(revision.actor(), "editor");
  EXPECT_TRUE(revision.pinned());
  EXPECT_EQ(revision.delete_time().seconds(), 1);
  EXPECT_EQ(revision.delete_time().nanos(), 500'000'000);
  EXPECT_FALSE(revision.has_purge_time());
  const v1::AuditRecord audit =
      ToProto(AuditRecord{"me", "pin", "", Revision(3), Revision(3), "why", 2'000'000, 9});
  EXPECT_EQ(audit.sequence(), 9);
  EXPECT_EQ(audit.actor(), "me");
  EXPECT_EQ(audit.verb(), "pin");
  EXPECT_EQ(audit.to(), 3);
  EXPECT_EQ(audit.reason(), "why");
  EXPECT_EQ(audit.time().seconds(), 2);
}

}  // namespace
}  // namespace amend
