#include "storage/step_rules.h"

#include <utility>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

StoreStep NewRevision(int64_t revision, int64_t parent,
                      RevisionState state = RevisionState::kValidated) {
  StoreStep step;
  step.revision.emplace();
  step.revision->revision = Revision(revision);
  step.revision->parent = Revision(parent);
  step.revision->state = state;
  if (state != RevisionState::kRejected) step.factors.emplace();
  return step;
}

StepFacts Latest(int64_t latest) {
  StepFacts facts;
  facts.latest = Revision(latest);
  return facts;
}

TEST(CheckStep, RefusesAnEmptyStep) {
  EXPECT_THAT(CheckStep(StoreStep(), Latest(0)), StatusIs(StatusCode::kInvalidArgument));
}

TEST(CheckStep, RefusesARevisionThatLeavesAGap) {
  EXPECT_THAT(CheckStep(NewRevision(7, 4), Latest(5)),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("revision 7"), HasSubstr("latest revision 5"))));
}

TEST(CheckStep, RefusesARevisionThatExists) {
  EXPECT_THAT(CheckStep(NewRevision(5, 4), Latest(5)), StatusIs(StatusCode::kInvalidArgument));
}

TEST(CheckStep, RefusesAParentThatDoesNotExist) {
  EXPECT_THAT(CheckStep(NewRevision(6, 6), Latest(5)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("parent 6")));
  EXPECT_THAT(CheckStep(NewRevision(6, -1), Latest(5)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("parent -1")));
}

TEST(CheckStep, RefusesFactorsOfARejectedRevision) {
  StoreStep step = NewRevision(1, 0, RevisionState::kRejected);
  EXPECT_THAT(CheckStep(step, Latest(0)), IsOk());
  step.factors.emplace();
  EXPECT_THAT(CheckStep(step, Latest(0)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("comes with factors")));
}

TEST(CheckStep, RefusesAValidatedRevisionWithoutFactors) {
  StoreStep step = NewRevision(1, 0);
  step.factors.reset();
  EXPECT_THAT(CheckStep(step, Latest(0)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("without factors")));
}

// Revision 6 with parent 4, which leaves out `withdrawn`.
StoreStep Withdrawal(std::vector<EditId> withdrawn) {
  StoreStep step = NewRevision(6, 4);
  step.factors.reset();
  step.revision->withdrawn = std::move(withdrawn);
  return step;
}

TEST(CheckStep, ARevisionThatWithdrawsEditsNeedsNoFactors) {
  StoreStep step = Withdrawal({{Revision(1), 0}, {Revision(1), 2}, {Revision(4), 0}});
  EXPECT_THAT(CheckStep(step, Latest(5)), IsOk());
  step.revision->state = RevisionState::kRejected;
  EXPECT_THAT(CheckStep(step, Latest(5)), IsOk());
}

TEST(CheckStep, RefusesFactorsAndEditsOfARevisionThatWithdraws) {
  StoreStep step = Withdrawal({{Revision(1), 0}});
  step.revision->edit_count = 3;
  EXPECT_THAT(CheckStep(step, Latest(5)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("brings 3 of its own")));
  step.revision->edit_count = 0;
  step.factors.emplace();
  EXPECT_THAT(CheckStep(step, Latest(5)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("comes with factors")));
}

TEST(CheckStep, RefusesToWithdrawWhatCannotBeOnTheParentsLine) {
  for (const EditId edit : {EditId{Revision(5), 0}, EditId{Revision(0), 0}, EditId{Revision(-1), 0},
                            EditId{Revision(4), -1}}) {
    EXPECT_THAT(CheckStep(Withdrawal({edit}), Latest(5)),
                StatusIs(StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(edit.ToString()), HasSubstr("revision 4"))));
  }
}

TEST(CheckStep, RefusesToWithdrawOneEditTwice) {
  EXPECT_THAT(CheckStep(Withdrawal({{Revision(1), 2}, {Revision(1), 2}}), Latest(5)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("1/2 follows 1/2")));
}

TEST(CheckStep, RefusesFactorsWithoutARevision) {
  StoreStep step;
  step.factors.emplace();
  EXPECT_THAT(CheckStep(step, Latest(0)), StatusIs(StatusCode::kInvalidArgument));
}

TEST(CheckStep, RefusesALayerThatComesTwice) {
  StoreStep step = NewRevision(1, 0);
  step.factors->layers.resize(2);
  EXPECT_THAT(CheckStep(step, Latest(0)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("layer 0 comes twice")));
}

TEST(CheckStep, RefusesAMatrixWhoseShapeIsNotItsSize) {
  StoreStep step = NewRevision(1, 0);
  step.factors->layers.resize(1);
  step.factors->layers[0].v = {2, 3, {1, 2, 3, 4, 5}};
  EXPECT_THAT(CheckStep(step, Latest(0)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("v is 2 x 3 but has 5 values")));
}

TEST(CheckStep, RefusesALedgerEntryThatIsNotStored) {
  StoreStep step;
  step.ledger.emplace();
  step.ledger->key = {"session-\n", 3};
  EXPECT_THAT(
      CheckStep(step, Latest(0)),
      StatusIs(StatusCode::kNotFound, AllOf(HasSubstr("\"session-\\n\""), HasSubstr("offset 3"))));
}

TEST(CheckStep, RefusesToMakeAFinishedBatchDurableAgain) {
  StoreStep step;
  step.ledger.emplace();
  StepFacts facts = Latest(0);
  facts.ledger_state = BatchState::kLive;
  EXPECT_THAT(CheckStep(step, facts), StatusIs(StatusCode::kInvalidArgument));
}

TEST(CheckStep, LetsALabelMoveToTheRevisionOfTheSameStep) {
  StoreStep step = NewRevision(1, 0);
  step.label = LabelMove{"live", Revision(1), std::nullopt};
  EXPECT_THAT(CheckStep(step, Latest(0)), IsOk());
}

TEST(CheckStep, RefusesALabelToTheRejectedRevisionOfTheSameStep) {
  StoreStep step = NewRevision(1, 0, RevisionState::kRejected);
  step.label = LabelMove{"live", Revision(1), std::nullopt};
  EXPECT_THAT(CheckStep(step, Latest(0)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("revision 1")));
}

StoreStep Marks(int64_t revision, RevisionMarks marks) {
  StoreStep step;
  step.marks = MarkChange{Revision(revision), marks};
  return step;
}

// Of a validated revision with these marks.
StepFacts Marked(RevisionMarks marks) {
  StepFacts facts = Latest(5);
  facts.marked_state = RevisionState::kValidated;
  facts.marks = marks;
  return facts;
}

constexpr RevisionMarks kNoMarks;
constexpr RevisionMarks kPinned{true, 0, 0};
constexpr RevisionMarks kDeleted{false, 7, 0};
constexpr RevisionMarks kPurged{false, 7, 9};

TEST(CheckStep, LetsARevisionBePinnedDeletedUndeletedAndPurged) {
  EXPECT_THAT(CheckStep(Marks(3, kPinned), Marked(kNoMarks)), IsOk());
  EXPECT_THAT(CheckStep(Marks(3, kNoMarks), Marked(kPinned)), IsOk());
  EXPECT_THAT(CheckStep(Marks(3, kDeleted), Marked(kNoMarks)), IsOk());
  EXPECT_THAT(CheckStep(Marks(3, kNoMarks), Marked(kDeleted)), IsOk());
  EXPECT_THAT(CheckStep(Marks(3, kPurged), Marked(kDeleted)), IsOk());
}

TEST(CheckStep, RefusesMarksOfARevisionThatDoesNotExist) {
  EXPECT_THAT(CheckStep(Marks(9, kPinned), Latest(5)),
              StatusIs(StatusCode::kNotFound, HasSubstr("revision 9")));
}

TEST(CheckStep, RefusesToPurgeWhatIsNotDeletedOrIsPinned) {
  EXPECT_THAT(CheckStep(Marks(3, kPurged), Marked(kNoMarks)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("not deleted")));
  EXPECT_THAT(CheckStep(Marks(3, {true, 7, 9}), Marked({true, 7, 0})),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("pinned")));
}

TEST(CheckStep, RefusesToChangeWhatIsPurged) {
  for (const RevisionMarks& marks : {kNoMarks, kPinned, kDeleted, kPurged}) {
    EXPECT_THAT(CheckStep(Marks(3, marks), Marked(kPurged)),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("purged")));
  }
}

TEST(CheckStep, RefusesToDeleteOrPurgeWhereALabelStands) {
  StepFacts facts = Marked(kNoMarks);
  facts.label_on_marked = "canary";
  EXPECT_THAT(CheckStep(Marks(3, kDeleted), facts),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("\"canary\"")));
  EXPECT_THAT(CheckStep(Marks(3, kPinned), facts), IsOk());
}

TEST(CheckStep, RefusesToDeleteARejectedRevision) {
  StepFacts facts = Marked(kNoMarks);
  facts.marked_state = RevisionState::kRejected;
  EXPECT_THAT(CheckStep(Marks(3, kDeleted), facts),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("not validated")));
}

TEST(CheckStep, RefusesMarksBesideANewRevisionOrALabelMove) {
  StoreStep step = Marks(3, kPinned);
  step.label = LabelMove{"canary", Revision(0), std::nullopt};
  EXPECT_THAT(CheckStep(step, Marked(kNoMarks)), StatusIs(StatusCode::kInvalidArgument));
  step = NewRevision(6, 5);
  step.marks = MarkChange{Revision(3), kPinned};
  EXPECT_THAT(CheckStep(step, Marked(kNoMarks)), StatusIs(StatusCode::kInvalidArgument));
}

TEST(CheckStep, RefusesALabelToADeletedRevision) {
  StoreStep step;
  step.label = LabelMove{"canary", Revision(3), std::nullopt};
  StepFacts facts = Latest(5);
  facts.label_target_state = RevisionState::kValidated;
  EXPECT_THAT(CheckStep(step, facts), IsOk());
  facts.label_target_deleted = true;
  EXPECT_THAT(CheckStep(step, facts), StatusIs(StatusCode::kInvalidArgument, HasSubstr("deleted")));
}

TEST(CheckStep, RefusesAParentThatIsPurged) {
  StepFacts facts = Latest(5);
  facts.parent_purged = true;
  EXPECT_THAT(
      CheckStep(NewRevision(6, 4), facts),
      StatusIs(StatusCode::kInvalidArgument, AllOf(HasSubstr("parent 4"), HasSubstr("purged"))));
}

TEST(CheckStep, DeletesALabelOnlyFromTheExpectedGenerationAndNeverLive) {
  StoreStep step;
  step.label_deletion = LabelDeletion{"canary", 3};
  EXPECT_THAT(CheckStep(step, Latest(5)), StatusIs(StatusCode::kNotFound, HasSubstr("\"canary\"")));
  StepFacts facts = Latest(5);
  facts.deleted_label_generation = 4;
  EXPECT_THAT(CheckStep(step, facts),
              StatusIs(StatusCode::kAborted, AllOf(HasSubstr("4"), HasSubstr("3"))));
  facts.deleted_label_generation = 3;
  EXPECT_THAT(CheckStep(step, facts), IsOk());
  step.label_deletion->name = "live";
  EXPECT_THAT(CheckStep(step, facts), StatusIs(StatusCode::kInvalidArgument));
}

TEST(NextGeneration, GrowsByOneAndANewLabelBeginsAboveTheFloor) {
  EXPECT_EQ(NextGeneration(4, 9), 5);
  EXPECT_EQ(NextGeneration(0, 9), 1);
  EXPECT_EQ(NextGeneration(std::nullopt, 9), 10);
}

TEST(CheckAppend, RefusesANegativeOffset) {
  LedgerEntry entry;
  entry.key = {"s", -1};
  EXPECT_THAT(CheckAppend(entry, 0), StatusIs(StatusCode::kInvalidArgument, HasSubstr("-1")));
}

TEST(CheckAppend, RefusesAStateThatNeedsASolver) {
  LedgerEntry entry;
  entry.state = BatchState::kValidated;
  EXPECT_THAT(CheckAppend(entry, 0), StatusIs(StatusCode::kInvalidArgument));
}

TEST(CheckAppend, SaysWhichOffsetIsNext) {
  LedgerEntry entry;
  entry.key = {"s", 9};
  EXPECT_THAT(CheckAppend(entry, 4),
              StatusIs(StatusCode::kOutOfRange, AllOf(HasSubstr("offset 9"), HasSubstr("is 4"))));
  EXPECT_THAT(CheckAppend(entry, 12), StatusIs(StatusCode::kAlreadyExists,
                                               AllOf(HasSubstr("offset 9"), HasSubstr("is 12"))));
}

}  // namespace
}  // namespace amend
