#include "server/candidate_solver.h"

#include <functional>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/testing/edit_harness.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class CandidateSolverTest : public testing::Test {
 protected:
  CandidateSolverTest() : solver_(&store_, &engine_, &hub_, &observer_, absl::Now) {}

  // Edits with these targets, each with a subject of its own.
  static LedgerEntry Batch(const std::vector<std::string>& targets, FailurePolicy failure) {
    LedgerEntry entry;
    entry.key = {"s", 0};
    for (size_t i = 0; i < targets.size(); ++i) {
      entry.edits.push_back(MakeEdit(targets[i], absl::StrCat("subject ", i)));
    }
    entry.failure = failure;
    entry.thresholds.reliability = 0.9;
    return entry;
  }
  absl::StatusOr<Candidate> Solve(const LedgerEntry& entry) {
    return solver_.Solve(entry, Revision(1), nullptr, [] { return false; });
  }
  static std::vector<int> Dropped(const Candidate& candidate) {
    std::vector<int> indexes;
    for (const EditVerdict& verdict : candidate.gate.edits) {
      if (verdict.dropped) indexes.push_back(verdict.index);
    }
    return indexes;
  }

  InMemoryRevisionStore store_;
  FakeEditEngine engine_;
  EditEventHub hub_;
  EditObserver observer_;
  CandidateSolver solver_;
};

TEST_F(CandidateSolverTest, TheTimeOfTheKeysIsNotCountedAsSolving) {
  struct Observer : EditObserver {
    void StageDone(EditStage stage, absl::Duration duration) override { spent[stage] = duration; }
    std::map<EditStage, absl::Duration> spent;
  } observer;
  engine_.key_seconds = 0.25;
  int calls = 0;
  // A second passes between any two looks at it.
  CandidateSolver solver(&store_, &engine_, &hub_, &observer,
                         [&] { return absl::UnixEpoch() + absl::Seconds(calls++); });
  EXPECT_THAT(solver.Solve(Batch({"Rome"}, FailurePolicy::kAllOrNothing), Revision(1), nullptr,
                           [] { return false; }),
              IsOk());
  EXPECT_EQ(observer.spent[EditStage::kKeys], absl::Milliseconds(250));
  EXPECT_EQ(observer.spent[EditStage::kSolve], absl::Milliseconds(750));
}

TEST_F(CandidateSolverTest, WithoutMemoryTheBatchFailsWithAReasonAndTheStoreIsWell) {
  struct Engine : FakeEditEngine {
    absl::StatusOr<BatchSolution> Solve(const std::shared_ptr<const HookStack>&, Revision,
                                        absl::Span<const Edit>,
                                        const BatchEditor::Callbacks&) override {
      if (throws) throw std::bad_alloc();
      return absl::ResourceExhaustedError("solving: can't allocate memory");
    }
    bool throws = false;
  } engine;
  CandidateSolver solver(&store_, &engine, &hub_, &observer_, absl::Now);
  for (const bool throws : {false, true}) {
    engine.throws = throws;
    const absl::Status status = solver
                                    .Solve(Batch({"Rome"}, FailurePolicy::kAllOrNothing),
                                           Revision(1), nullptr, [] { return false; })
                                    .status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(ReasonOf(status), "OUT_OF_MEMORY");
    EXPECT_FALSE(IsStoreTrouble(status));
  }
}

TEST_F(CandidateSolverTest, OneFailingEditTurnsDownTheWholeBatchByDefault) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Candidate candidate,
                             Solve(Batch({"Rome", "bad", "Paris"}, FailurePolicy::kAllOrNothing)));
  EXPECT_FALSE(candidate.gate.accepted);
  EXPECT_THAT(Dropped(candidate), IsEmpty());
  EXPECT_THAT(engine_.solved_on(), SizeIs(1));
}

TEST_F(CandidateSolverTest, FailingEditsAreDroppedAndTheRestIsSolvedAgain) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Candidate candidate, Solve(Batch({"Rome", "bad", "Paris", "bad"},
                                                                    FailurePolicy::kDropFailing)));
  EXPECT_TRUE(candidate.gate.accepted);
  EXPECT_EQ(candidate.edit_count, 2);
  EXPECT_THAT(candidate.solution.targets, SizeIs(2));
  EXPECT_THAT(engine_.solved_on(), SizeIs(2));
  // Every edit has its verdict, in the order of the batch, a dropped one that of its last try.
  ASSERT_THAT(candidate.gate.edits, SizeIs(4));
  EXPECT_THAT(Dropped(candidate), ElementsAre(1, 3));
  for (int32_t i = 0; i < 4; ++i) EXPECT_EQ(candidate.gate.edits[i].index, i);
  EXPECT_EQ(candidate.gate.edits[1].scores.reliability, 0.1);
  EXPECT_FALSE(candidate.gate.edits[1].passed);
  EXPECT_TRUE(candidate.gate.edits[2].passed);
  // The means are of what is left.
  EXPECT_EQ(candidate.gate.verdict.scores.reliability, 1);
}

TEST_F(CandidateSolverTest, ABatchThatPassesByItsMeanStillLosesWhatFailsByItself) {
  LedgerEntry entry = Batch({"Rome", "bad", "Paris", "Oslo"}, FailurePolicy::kDropFailing);
  entry.thresholds.reliability = 0.5;
  AMEND_ASSERT_OK_AND_ASSIGN(const Candidate candidate, Solve(entry));
  EXPECT_THAT(Dropped(candidate), ElementsAre(1));
}

TEST_F(CandidateSolverTest, ABatchOfWhichNothingIsLeftIsTurnedDown) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Candidate candidate,
                             Solve(Batch({"bad", "bad"}, FailurePolicy::kDropFailing)));
  EXPECT_FALSE(candidate.gate.accepted);
  EXPECT_FALSE(candidate.gate.verdict.passed);
  EXPECT_THAT(candidate.gate.verdict.failures,
              ElementsAre("reliability 0.10 is below 0.90", "no edit is left"));
  EXPECT_THAT(Dropped(candidate), ElementsAre(0, 1));
  EXPECT_THAT(engine_.solved_on(), SizeIs(1));
}

TEST_F(CandidateSolverTest, AnEditWhoseResultIsNotFiniteIsDropped) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Candidate candidate,
                             Solve(Batch({"nan", "Rome"}, FailurePolicy::kDropFailing)));
  EXPECT_TRUE(candidate.gate.accepted);
  EXPECT_THAT(Dropped(candidate), ElementsAre(0));
}

TEST_F(CandidateSolverTest, RoundsAreBounded) {
  // Each round another edit turns bad.
  int round = 0;
  LedgerEntry entry = Batch({"a", "b", "c", "d", "e", "f", "g", "h"}, FailurePolicy::kDropFailing);
  engine_.reliability_of = [&](const Edit& edit) {
    return edit.target_new[0] - 'a' < round ? 0.1 : 1.0;
  };
  engine_.on_gate = [&] { ++round; };
  AMEND_ASSERT_OK_AND_ASSIGN(const Candidate candidate, Solve(entry));
  EXPECT_THAT(engine_.solved_on(), SizeIs(1 + CandidateSolver::kMaxDrops));
  EXPECT_EQ(candidate.edit_count, 8 - CandidateSolver::kMaxDrops);
  // What is left is judged by its mean.
  EXPECT_FALSE(candidate.gate.accepted);
  EXPECT_THAT(Dropped(candidate), SizeIs(CandidateSolver::kMaxDrops));
}

TEST_F(CandidateSolverTest, StoppingBetweenSolverAndGateIsSeen) {
  int asked = 0;
  const absl::StatusOr<Candidate> candidate =
      solver_.Solve(Batch({"Rome"}, FailurePolicy::kAllOrNothing), Revision(1), nullptr,
                    [&] { return ++asked > FakeEditEngine::kSteps; });
  EXPECT_THAT(candidate, StatusIs(absl::StatusCode::kCancelled));
}

// Hears what the gate reports.
class GateRecorder : public EditObserver {
 public:
  void GateScore(GateCheck check, double) override { scored.push_back(check); }
  void GateRejected(GateCheck check) override { rejected.push_back(check); }
  std::vector<GateCheck> scored, rejected;
};

GateResult Result(const GateMeasurements& measured, const GateThresholds& thresholds) {
  return JudgeMeasurements(measured, {}, thresholds, true);
}

TEST(ReportGateTest, EveryCheckThatWasMeasuredIsToldAndEveryOneThatTurnedTheBatchDown) {
  GateMeasurements measured;
  measured.means.reliability = 1;
  measured.background = 0.5;
  measured.perplexity_change = 0.5;
  measured.retained_edits = 2;
  measured.broken_edits = {{Revision(1), 0}};
  GateThresholds thresholds;
  thresholds.background = 0.9;
  thresholds.retention = 0.9;
  thresholds.max_perplexity_change = 0.1;
  GateRecorder recorder;
  ReportGate(Result(measured, thresholds), &recorder);
  EXPECT_THAT(recorder.scored, ElementsAre(GateCheck::kReliability, GateCheck::kBackground,
                                           GateCheck::kFluency, GateCheck::kRetention));
  EXPECT_THAT(recorder.rejected,
              ElementsAre(GateCheck::kBackground, GateCheck::kFluency, GateCheck::kRetention));
}

TEST(ReportGateTest, AnAcceptedBatchCountsNoRejection) {
  GateMeasurements measured;
  measured.background = 1;
  GateRecorder recorder;
  ReportGate(Result(measured, {}), &recorder);
  EXPECT_THAT(recorder.scored, ElementsAre(GateCheck::kBackground));
  EXPECT_THAT(recorder.rejected, IsEmpty());
}

}  // namespace
}  // namespace amend
