#include "server/revision_comparison.h"

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::IsEmpty;

// Revisions with two edits each: 1 on 0, 2 and 3 on 1, 4 on 3.
class RevisionComparisonTest : public testing::Test {
 protected:
  RevisionComparisonTest() {
    for (const int64_t parent : {0, 1, 1, 3}) Add(parent, 2, 10);
  }

  void Add(int64_t parent, int edits, size_t prompt_size) {
    const Revision revision = store_.LatestRevision().Next();
    LedgerEntry entry;
    entry.key = {"s", revision.value() - 1};
    for (int i = 0; i < edits; ++i) {
      entry.edits.emplace_back();
      entry.edits.back().prompt = std::string(prompt_size, 'p');
      entry.edits.back().target_new = absl::StrCat(revision.value(), "/", i);
    }
    ASSERT_THAT(store_.AppendLedger(entry), IsOk());
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = revision;
    step.revision->parent = Revision(parent);
    step.revision->state = RevisionState::kValidated;
    step.revision->batch = entry.key;
    step.revision->edit_count = edits;
    step.factors.emplace();
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  void Withdraw(int64_t parent, std::vector<EditId> edits) {
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = store_.LatestRevision().Next();
    step.revision->parent = Revision(parent);
    step.revision->state = RevisionState::kValidated;
    step.revision->withdrawn = std::move(edits);
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  absl::StatusOr<v1::CompareRevisionsResponse> Compare(int64_t base, int64_t revision,
                                                       int page_size = 0,
                                                       const std::string& token = "") {
    v1::CompareRevisionsRequest request;
    request.set_base_revision(base);
    request.set_revision(revision);
    request.set_page_size(page_size);
    request.set_page_token(token);
    return CompareRevisions(store_, request);
  }
  // "-2/0": revision 2's edit 0 is removed.
  static std::vector<std::string> Texts(const v1::CompareRevisionsResponse& response) {
    std::vector<std::string> texts;
    for (const v1::RevisionDifference& difference : response.differences()) {
      EXPECT_EQ(difference.edit().target_new(),
                absl::StrCat(difference.revision(), "/", difference.edit_index()));
      texts.push_back(absl::StrCat(difference.kind() == v1::RevisionDifference::REMOVED ? "-" : "+",
                                   difference.edit().target_new()));
    }
    return texts;
  }

  InMemoryRevisionStore store_;
};

TEST_F(RevisionComparisonTest, TwoBranchesDifferFromWhereTheyPart) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto response, Compare(2, 4));
  EXPECT_EQ(response.common_ancestor(), 1);
  EXPECT_EQ(response.removed_count(), 2);
  EXPECT_EQ(response.added_count(), 4);
  EXPECT_THAT(Texts(response), ElementsAre("-2/0", "-2/1", "+3/0", "+3/1", "+4/0", "+4/1"));
  EXPECT_EQ(response.next_page_token(), "");
}

TEST_F(RevisionComparisonTest, AnAncestorLacksWhatCameAfterIt) {
  EXPECT_THAT(Texts(*Compare(3, 4)), ElementsAre("+4/0", "+4/1"));
  EXPECT_THAT(Texts(*Compare(4, 3)), ElementsAre("-4/0", "-4/1"));
  EXPECT_THAT(Texts(*Compare(0, 1)), ElementsAre("+1/0", "+1/1"));
}

TEST_F(RevisionComparisonTest, ARevisionIsAsItIs) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto response, Compare(4, 4));
  EXPECT_EQ(response.common_ancestor(), 4);
  EXPECT_THAT(Texts(response), IsEmpty());
}

// 5 is 4 without edits 1/0 and 3/1; 6 is 2 without 1/0 and 1/1.
TEST_F(RevisionComparisonTest, WithdrawnEditsAreNotOnTheLine) {
  Withdraw(4, {{Revision(1), 0}, {Revision(3), 1}});
  Withdraw(2, {{Revision(1), 0}, {Revision(1), 1}});
  EXPECT_THAT(Texts(*Compare(4, 5)), ElementsAre("-1/0", "-3/1"));
  EXPECT_THAT(Texts(*Compare(5, 4)), ElementsAre("+1/0", "+3/1"));
  EXPECT_THAT(Texts(*Compare(2, 5)), ElementsAre("-1/0", "-2/0", "-2/1", "+3/0", "+4/0", "+4/1"));
  EXPECT_THAT(Texts(*Compare(6, 5)), ElementsAre("-2/0", "-2/1", "+1/1", "+3/0", "+4/0", "+4/1"));
}

TEST_F(RevisionComparisonTest, PagesFitTogetherAlsoInTheMiddleOfABatch) {
  for (const int size : {1, 3, 5}) {
    std::vector<std::string> texts;
    std::string token;
    do {
      AMEND_ASSERT_OK_AND_ASSIGN(const auto page, Compare(2, 4, size, token));
      EXPECT_LE(page.differences_size(), size);
      EXPECT_EQ(page.added_count(), 4);
      for (const std::string& text : Texts(page)) texts.push_back(text);
      token = page.next_page_token();
    } while (!token.empty());
    EXPECT_THAT(texts, ElementsAre("-2/0", "-2/1", "+3/0", "+3/1", "+4/0", "+4/1"));
  }
}

TEST_F(RevisionComparisonTest, APageOfLargeEditsEndsEarly) {
  Add(0, 8, 400'000);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto page, Compare(0, 5, 1000));
  EXPECT_EQ(page.differences_size(), 3);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto rest, Compare(0, 5, 1000, page.next_page_token()));
  EXPECT_EQ(Texts(rest).front(), "+5/3");
}

TEST_F(RevisionComparisonTest, UnknownRevisionsAndStrangeTokensAreNamed) {
  const absl::Status unknown = Compare(2, 9).status();
  EXPECT_THAT(unknown, StatusIs(StatusCode::kNotFound));
  EXPECT_EQ(ReasonOf(unknown), "REVISION_NOT_FOUND");
  EXPECT_THAT(Compare(2, 4, 0, "x"), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Compare(2, 4, 0, "77"), IsOk());
}

}  // namespace
}  // namespace amend
