#include "server/edit_overlaps.h"

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Edit MakeEdit(const std::string& prompt, const std::string& subject) {
  Edit edit;
  edit.prompt = prompt;
  edit.subject = subject;
  return edit;
}

class EditOverlapsTest : public testing::Test {
 protected:
  // Revision 1 has the edits "Oslo is in" and "Rome is in".
  void SetUp() override {
    LedgerEntry entry;
    entry.key = {"s", 0};
    entry.edits = {MakeEdit("Oslo is in", "Oslo"), MakeEdit("Rome is in", "Rome")};
    ASSERT_THAT(store_.AppendLedger(entry), IsOk());
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = Revision(1);
    step.revision->batch = entry.key;
    step.revision->state = RevisionState::kValidated;
    step.factors.emplace();
    entry.state = BatchState::kValidated;
    entry.revision = Revision(1);
    step.ledger = entry;
    ASSERT_THAT(store_.Commit(step), IsOk());
    verdicts_[1].index = 1;
  }

  InMemoryRevisionStore store_;
  const std::vector<Edit> edits_ = {MakeEdit("Rome is in", "Rome"),
                                    MakeEdit("The people of Rome speak", "Rome")};
  std::vector<EditVerdict> verdicts_ = std::vector<EditVerdict>(2);
};

TEST_F(EditOverlapsTest, AnEarlierEditOfTheSamePromptIsSuperseded) {
  const std::vector<KeyOverlap> overlaps = {{0, EditId{Revision(1), 1}, -1, 1.0},
                                            {1, EditId{Revision(1), 1}, -1, 0.96}};
  AddOverlaps(store_, Revision(2), edits_, overlaps, &verdicts_);
  EXPECT_THAT(verdicts_[0].overlaps, ElementsAre(EditOverlap{Revision(1), 1, 1.0, true}));
  EXPECT_THAT(verdicts_[1].overlaps, ElementsAre(EditOverlap{Revision(1), 1, 0.96, false}));
}

TEST_F(EditOverlapsTest, AnEditOfTheSameBatchHasTheCandidatesNumber) {
  const std::vector<KeyOverlap> overlaps = {{1, {}, 0, 0.98}};
  AddOverlaps(store_, Revision(2), edits_, overlaps, &verdicts_);
  EXPECT_THAT(verdicts_[0].overlaps, IsEmpty());
  EXPECT_THAT(verdicts_[1].overlaps, ElementsAre(EditOverlap{Revision(2), 0, 0.98, false}));
}

TEST_F(EditOverlapsTest, WhatCannotBeReadCountsAsAnotherPrompt) {
  const std::vector<KeyOverlap> overlaps = {{0, EditId{Revision(1), 7}, -1, 1.0},
                                            {0, EditId{Revision(9), 0}, -1, 1.0}};
  AddOverlaps(store_, Revision(2), edits_, overlaps, &verdicts_);
  EXPECT_THAT(verdicts_[0].overlaps, ElementsAre(EditOverlap{Revision(1), 7, 1.0, false},
                                                 EditOverlap{Revision(9), 0, 1.0, false}));
}

}  // namespace
}  // namespace amend
