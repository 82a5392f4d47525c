#include "client/cli/edit_report.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;
using ::testing::HasSubstr;
using ::testing::Not;

struct Console {
  Console() {
    context.out = &out;
    context.err = &err;
    batches.emplace_back();
    v1::Edit* edit = batches.back().add_edits();
    edit->set_subject("Oslo");
    edit->set_target_new("Chile");
  }
  std::vector<v1::EditBatch> batches;
  std::ostringstream out;
  std::ostringstream err;
  CommandContext context;
};

v1::EditBatchStatus Status(v1::BatchStage stage) {
  v1::EditBatchStatus status;
  status.set_stage(stage);
  status.set_revision(4);
  return status;
}

v1::EditResult* AddResult(v1::EditBatchStatus* status, double reliability, bool passed) {
  v1::EditResult* result = status->add_edit_results();
  result->set_reliability(reliability);
  result->set_passed(passed);
  return result;
}

TEST(EditReportTest, VerdictNamesTheMissedThreshold) {
  v1::EditBatchStatus status = Status(v1::REJECTED);
  AddResult(&status, 0.4, false);
  status.mutable_gate_report()->mutable_thresholds()->set_reliability(0.9);
  EXPECT_EQ(Verdict(status, 0), "reliability 0.40 is below 0.90");
}

TEST(EditReportTest, VerdictOfAMalformedEditNamesItsField) {
  v1::EditBatchStatus status = Status(v1::FAILED);
  v1::FieldViolation* violation = AddResult(&status, 0, false)->mutable_violation();
  violation->set_field("batch.edits[0].subject");
  violation->set_description("is not in the prompt");
  EXPECT_EQ(Verdict(status, 0), "batch.edits[0].subject: is not in the prompt");
  EXPECT_EQ(Verdict(status, 1), "not tried: its batch failed");
}

TEST(EditReportTest, AGoodEditOfARejectedBatchIsToldApart) {
  v1::EditBatchStatus status = Status(v1::REJECTED);
  AddResult(&status, 1, true);
  EXPECT_EQ(Verdict(status, 0), "passed, but its batch was rejected");
}

TEST(EditReportTest, OverlapsWithOtherEditsAreNamedUnderTheVerdict) {
  Console console;
  v1::EditBatchStatus status = Status(v1::LIVE);
  v1::EditResult* result = AddResult(&status, 1, true);
  v1::KeyOverlap* same = result->add_overlaps();
  same->set_revision(3);
  same->set_edit_index(2);
  same->set_activation(1);
  same->set_same_prompt(true);
  v1::KeyOverlap* other = result->add_overlaps();
  other->set_revision(1);
  other->set_activation(0.966);
  const std::string expected =
      "supersedes revision 3 edit 2; shares its key with revision 1 edit 0 (0.97)";
  EXPECT_EQ(OverlapText(*result), expected);
  EditReport report(console.context, console.batches, v1::PROMOTE_WHEN_VALIDATED);
  report.OnBatch(status);
  EXPECT_THAT(console.out.str(), HasSubstr("passed\n       " + expected + "\n"));
  console.context.json = true;
  console.out.str("");
  EditReport objects(console.context, console.batches, v1::PROMOTE_WHEN_VALIDATED);
  objects.OnBatch(status);
  EXPECT_THAT(console.out.str(), HasSubstr(R"("overlaps":[{"revision":3,"edit_index":2)"));
}

TEST(EditReportTest, ADroppedEditSaysWhy) {
  v1::EditBatchStatus status = Status(v1::LIVE);
  v1::EditResult* result = AddResult(&status, 0.4, false);
  result->set_dropped(true);
  status.mutable_gate_report()->mutable_thresholds()->set_reliability(0.9);
  EXPECT_EQ(Verdict(status, 0), "dropped: reliability 0.40 is below 0.90");
  result->set_passed(true);
  EXPECT_EQ(Verdict(status, 0), "dropped: breaks an earlier edit with the same key");
}

TEST(EditReportTest, DroppedEditsAreCountedApart) {
  Console console;
  v1::EditBatchStatus status = Status(v1::LIVE);
  AddResult(&status, 0.4, false)->set_dropped(true);
  EditReport report(console.context, console.batches, v1::PROMOTE_WHEN_VALIDATED);
  EXPECT_EQ(report.Finish({status}), kExitNotApplied);
  EXPECT_THAT(console.out.str(), HasSubstr("1 edits: 0 live, 0 validated, 0 rejected, 0 failed, "
                                           "1 dropped; newest revision 4"));
}

TEST(EditReportTest, WhatWasMeasuredOfTheBatchAsAWholeIsUnderItsVerdicts) {
  Console console;
  v1::EditBatchStatus status = Status(v1::LIVE);
  v1::EditResult* result = AddResult(&status, 1, true);
  result->set_generality(1);
  result->set_generality_source(v1::CONTEXT_TEMPLATES);
  v1::GateReport* gate = status.mutable_gate_report();
  gate->set_background(0.998);
  gate->set_perplexity_change(0.0013);
  gate->set_retained_edits(4);
  gate->set_retention(0.75);
  gate->add_broken_edits()->set_revision(3);
  gate->mutable_broken_edits(0)->set_edit_index(2);
  EditReport report(console.context, console.batches, v1::PROMOTE_WHEN_VALIDATED);
  report.OnBatch(status);
  report.Finish({status});
  EXPECT_THAT(console.out.str(), HasSubstr("  1.00*"));
  EXPECT_THAT(console.out.str(),
              HasSubstr("the batch: background 1.00, perplexity +0.1 %, 3 of 4 earlier edits hold, "
                        "breaks revision 3 edit 2\n"));
  EXPECT_THAT(console.out.str(), HasSubstr("* measured in the server's context templates"));
  console.context.json = true;
  console.out.str("");
  EditReport objects(console.context, console.batches, v1::PROMOTE_WHEN_VALIDATED);
  objects.OnBatch(status);
  EXPECT_THAT(console.out.str(), HasSubstr(R"("retained_edits":4)"));
  EXPECT_THAT(console.out.str(), HasSubstr(R"("broken_edits":[{"revision":3,"edit_index":2}])"));
  EXPECT_THAT(console.out.str(), HasSubstr(R"("generality_source":"CONTEXT_TEMPLATES")"));
}

TEST(EditReportTest, EachPhaseOfAStageIsPrintedOnce) {
  Console console;
  EditReport report(console.context, console.batches, v1::PROMOTE_WHEN_VALIDATED);
  v1::EditBatchStatus status = Status(v1::SOLVING);
  status.mutable_progress()->set_total(9);
  for (const auto phase : {v1::SolveProgress::TARGET_VALUES, v1::SolveProgress::LAYER_UPDATES}) {
    status.mutable_progress()->set_phase(phase);
    for (const int done : {1, 2, 3}) {
      status.mutable_progress()->set_done(done);
      report.OnBatch(status);
    }
  }
  EXPECT_EQ(console.out.str(),
            "batch 0: solving: target values 1/9\nbatch 0: solving: layer updates 1/9\n");
}

TEST(EditReportTest, ATerminalsLineIsRedrawnAndTakenAway) {
  Console console;
  console.context.terminal = true;
  EditReport report(console.context, console.batches, v1::PROMOTE_WHEN_VALIDATED);
  v1::EditBatchStatus status = Status(v1::SOLVING);
  status.mutable_progress()->set_phase(v1::SolveProgress::TARGET_VALUES);
  status.mutable_progress()->set_done(3);
  status.mutable_progress()->set_total(30);
  report.OnBatch(status);
  EXPECT_THAT(console.err.str(), HasSubstr("0/1 edits  batch 0 solving: target values 3/30"));
  EXPECT_THAT(console.err.str(), Not(HasSubstr("\n")));
  EXPECT_EQ(console.out.str(), "");
  report.OnBatch(Status(v1::LIVE));
  EXPECT_THAT(console.err.str(), testing::EndsWith("\r\033[K"));
  EXPECT_THAT(console.out.str(), HasSubstr("batch 0: live as revision 4"));
}

TEST(EditReportTest, AnEditIsReportedOnceHoweverOftenItsOutcomeComes) {
  Console console;
  EditReport report(console.context, console.batches, v1::PROMOTE_WHEN_VALIDATED);
  v1::EditBatchStatus status = Status(v1::LIVE);
  AddResult(&status, 1, true);
  report.OnBatch(status);
  const std::string once = console.out.str();
  EXPECT_THAT(once, HasSubstr("Oslo"));
  EXPECT_THAT(once, HasSubstr("passed"));
  status.set_replayed(true);
  report.OnBatch(status);
  EXPECT_EQ(console.out.str(), once);
}

TEST(EditReportTest, RejectedEditsMakeTheExitCodeOne) {
  Console console;
  EditReport report(console.context, console.batches, v1::PROMOTE_WHEN_VALIDATED);
  EXPECT_EQ(report.Finish({Status(v1::LIVE)}), kExitOk);
  EXPECT_EQ(report.Finish({Status(v1::REJECTED)}), kExitNotApplied);
  EXPECT_EQ(report.Finish({Status(v1::FAILED)}), kExitNotApplied);
}

TEST(EditReportTest, ALostConnectionIsANote) {
  Console console;
  EditReport report(console.context, console.batches, v1::PROMOTE_WHEN_VALIDATED);
  report.OnReconnect(2, absl::UnavailableError("reset"), absl::Milliseconds(400));
  EXPECT_EQ(console.err.str(), "connection lost (reset), attempt 2 in 400ms\n");
}

}  // namespace
}  // namespace amend::client
