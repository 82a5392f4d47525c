#include "server/line_edits.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/testing/fake_edit_engine.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Edit MakeEdit(const std::string& subject) {
  Edit edit;
  edit.prompt = absl::StrCat("The prompt of ", subject);
  edit.subject = subject;
  edit.target_new = "Rome";
  return edit;
}

EditVerdict Dropped(int32_t index) {
  EditVerdict verdict;
  verdict.index = index;
  verdict.dropped = true;
  return verdict;
}

TEST(EditsOfTest, EditsThatWereDroppedAreNotPartOfTheRevision) {
  LedgerEntry entry;
  entry.edits = {MakeEdit("a"), MakeEdit("b"), MakeEdit("c")};
  entry.state = BatchState::kLive;
  entry.verdicts = {EditVerdict(), Dropped(1)};
  EXPECT_THAT(EditsOf(entry), ElementsAre(MakeEdit("a"), MakeEdit("c")));
}

TEST(EditsOfTest, ARejectedRevisionShowsItsWholeBatch) {
  LedgerEntry entry;
  entry.edits = {MakeEdit("a"), MakeEdit("b")};
  entry.state = BatchState::kRejected;
  entry.verdicts = {Dropped(0), Dropped(1)};
  EXPECT_THAT(EditsOf(entry), SizeIs(2));
}

class LineEditsTest : public testing::Test {
 protected:
  // Appends a revision to the line: of two edits, or of those given.
  void Add(int64_t number, std::vector<Edit> edits, std::vector<EditVerdict> verdicts = {}) {
    LedgerEntry entry;
    entry.key = {"s", number - 1};
    entry.edits = std::move(edits);
    ASSERT_THAT(store_.AppendLedger(entry), IsOk());
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = Revision(number);
    step.revision->parent = Revision(number - 1);
    step.revision->batch = entry.key;
    step.revision->state = RevisionState::kValidated;
    step.factors.emplace();
    entry.state = BatchState::kLive;
    entry.revision = Revision(number);
    entry.verdicts = std::move(verdicts);
    step.ledger = entry;
    ASSERT_THAT(store_.Commit(step), IsOk());
    // The fake engine learns its edits from what it solves.
    BatchEditor::Callbacks callbacks;
    callbacks.progress = [](SolvePhase, int, int) {};
    callbacks.cancelled = [] { return false; };
    ASSERT_THAT(engine_.Solve(nullptr, Revision(number), EditsOf(entry), callbacks), IsOk());
    ASSERT_THAT(engine_.AppendToLine(Revision(number), {}), IsOk());
  }
  std::vector<EditId> Choose(const std::vector<Edit>& edits,
                             const std::vector<KeyOverlap>& overlaps = {}) {
    std::vector<EditId> ids;
    for (const RetainedEdit& retained :
         ChooseRetained(store_, engine_, nullptr, edits, overlaps, /*seed=*/1)) {
      ids.push_back(retained.id);
    }
    return ids;
  }

  InMemoryRevisionStore store_;
  FakeEditEngine engine_;
};

TEST_F(LineEditsTest, AnEditIsFoundByItsPlaceInTheRevision) {
  Add(1, {MakeEdit("a"), MakeEdit("b"), MakeEdit("c")}, {Dropped(1)});
  LineEdits line(store_);
  EXPECT_EQ(*line.Find(EditId{Revision(1), 0}), MakeEdit("a"));
  EXPECT_EQ(*line.Find(EditId{Revision(1), 1}), MakeEdit("c"));
  EXPECT_EQ(line.Find(EditId{Revision(1), 2}), nullptr);
  EXPECT_EQ(line.Find(EditId{Revision(9), 0}), nullptr);
}

TEST_F(LineEditsTest, AShortLineIsTestedAsAWhole) {
  Add(1, {MakeEdit("a"), MakeEdit("b")});
  Add(2, {MakeEdit("c")});
  EXPECT_THAT(Choose({MakeEdit("new")}),
              ElementsAre(EditId{Revision(1), 0}, EditId{Revision(1), 1}, EditId{Revision(2), 0}));
}

TEST_F(LineEditsTest, WhatANewEditSupersedesIsLeftOut) {
  Add(1, {MakeEdit("a"), MakeEdit("b")});
  Edit other_prompt = MakeEdit("b");
  other_prompt.prompt = "Something else about b";
  EXPECT_THAT(Choose({MakeEdit("a"), other_prompt}), ElementsAre(EditId{Revision(1), 1}));
}

TEST_F(LineEditsTest, ALongLineIsSampledAndEditsThatShareAKeyAreAlwaysThere) {
  for (int64_t number = 1; number <= 30; ++number) {
    Add(number, {MakeEdit(absl::StrCat("a", number)), MakeEdit(absl::StrCat("b", number))});
  }
  EXPECT_THAT(Choose({MakeEdit("new")}), SizeIs(kRetainedEdits));
  const EditId shares{Revision(30), 1};
  const std::vector<EditId> chosen = Choose({MakeEdit("new")}, {KeyOverlap{0, shares, -1, 0.97}});
  EXPECT_THAT(chosen, SizeIs(kRetainedEdits));
  EXPECT_THAT(chosen, testing::Contains(shares));
}

TEST_F(LineEditsTest, TheUneditedModelHasNothingToKeep) {
  EXPECT_THAT(Choose({MakeEdit("a")}), IsEmpty());
}

}  // namespace
}  // namespace amend
