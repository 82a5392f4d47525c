#include "core/editing/edit_rows.h"

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class EditRowsTest : public testing::Test {
 protected:
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(tokenizer_, Tokenizer::FromDirectory("models/demo"));
    settings_.context_templates = {"The people who live there. {}", "I saw it. {}"};
  }

  // Text of the tokens up to and including the lookup index.
  std::string TextUpToLookup(const PromptRow& row) const {
    return *tokenizer_->Decode(absl::MakeConstSpan(row.tokens).first(row.lookup + 1));
  }
  std::string Text(const PromptRow& row) const { return *tokenizer_->Decode(row.tokens); }

  std::unique_ptr<Tokenizer> tokenizer_;
  EditSettings settings_;
};

Edit MakeEdit(const std::string& prompt, const std::string& subject) {
  Edit edit;
  edit.prompt = prompt;
  edit.subject = subject;
  edit.target_new = "Vietnam";
  return edit;
}

TEST_F(EditRowsTest, LookupIndexIsTheSubjectsLastTokenInEveryRow) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const EditRows rows,
      MakeEditRows(*tokenizer_, settings_, MakeEdit("The capital of Jordan is", "Jordan")));
  ASSERT_EQ(rows.prompts.size(), 3u);
  EXPECT_EQ(TextUpToLookup(rows.prompts[0]), "The capital of Jordan");
  EXPECT_EQ(TextUpToLookup(rows.prompts[1]), "The people who live there. The capital of Jordan");
  EXPECT_EQ(TextUpToLookup(rows.prompts[2]), "I saw it. The capital of Jordan");
}

TEST_F(EditRowsTest, RowsHoldTheWholePromptInItsTemplate) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const EditRows rows,
      MakeEditRows(*tokenizer_, settings_, MakeEdit("The capital of Jordan is", "Jordan")));
  EXPECT_EQ(Text(rows.prompts[0]), "The capital of Jordan is");
  EXPECT_EQ(Text(rows.prompts[1]), "The people who live there. The capital of Jordan is");
}

TEST_F(EditRowsTest, SubjectAtTheFirstToken) {
  AMEND_ASSERT_OK_AND_ASSIGN(const EditRows rows,
                             MakeEditRows(*tokenizer_, settings_, MakeEdit("I am in", "I")));
  EXPECT_EQ(rows.prompts[0].lookup, 0);
}

TEST_F(EditRowsTest, SubjectAtTheLastToken) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const EditRows rows,
      MakeEditRows(*tokenizer_, settings_, MakeEdit("The capital of Jordan", "Jordan")));
  for (const PromptRow& row : rows.prompts)
    EXPECT_EQ(row.lookup, static_cast<int64_t>(row.tokens.size()) - 1);
}

TEST_F(EditRowsTest, EssenceRowAsksWhatTheSubjectIs) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const EditRows rows,
      MakeEditRows(*tokenizer_, settings_, MakeEdit("The capital of Jordan is", "Jordan")));
  EXPECT_EQ(Text(rows.essence), "Jordan is a");
  EXPECT_EQ(TextUpToLookup(rows.essence), "Jordan");
}

TEST_F(EditRowsTest, TargetHasOneLeadingSpace) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const EditRows rows,
      MakeEditRows(*tokenizer_, settings_, MakeEdit("The capital of Jordan is", "Jordan")));
  EXPECT_EQ(*tokenizer_->Decode(rows.target), " Vietnam");
  EXPECT_EQ(rows.target, tokenizer_->Encode(" Vietnam"));
}

TEST_F(EditRowsTest, BracesInThePromptAreText) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const EditRows rows,
      MakeEditRows(*tokenizer_, settings_, MakeEdit("The set {} and {x} of Jordan is", "Jordan")));
  EXPECT_EQ(Text(rows.prompts[2]), "I saw it. The set {} and {x} of Jordan is");
  EXPECT_EQ(TextUpToLookup(rows.prompts[2]), "I saw it. The set {} and {x} of Jordan");
}

TEST_F(EditRowsTest, BracesInTheSubjectAreText) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const EditRows rows,
      MakeEditRows(*tokenizer_, settings_, MakeEdit("The capital of {} is", "{}")));
  EXPECT_EQ(TextUpToLookup(rows.prompts[1]), "The people who live there. The capital of {}");
}

TEST_F(EditRowsTest, TemplateMayGoOnAfterThePrompt) {
  settings_.context_templates = {"Before: {} after"};
  AMEND_ASSERT_OK_AND_ASSIGN(const EditRows rows, MakeEditRows(*tokenizer_, settings_,
                                                               MakeEdit("In Jordan is", "Jordan")));
  EXPECT_EQ(Text(rows.prompts[1]), "Before: In Jordan is after");
  EXPECT_EQ(TextUpToLookup(rows.prompts[1]), "Before: In Jordan");
}

// The subject's last characters may share a token with what follows; the definition counts the
// tokens of the head on its own.
TEST_F(EditRowsTest, LookupIndexCountsTheTokensOfTheHeadAlone) {
  const Edit edit = MakeEdit("The Jordanian people", "Jordan");
  AMEND_ASSERT_OK_AND_ASSIGN(const EditRows rows, MakeEditRows(*tokenizer_, settings_, edit));
  EXPECT_EQ(rows.prompts[0].lookup,
            static_cast<int64_t>(tokenizer_->Encode("The Jordan").size()) - 1);
}

TEST_F(EditRowsTest, LookupIndexStaysWithinTheRow) {
  // "Th" alone takes more tokens than it does inside "The".
  const Edit edit = MakeEdit("The", "Th");
  AMEND_ASSERT_OK_AND_ASSIGN(const EditRows rows, MakeEditRows(*tokenizer_, settings_, edit));
  for (const PromptRow& row : rows.prompts)
    EXPECT_LT(row.lookup, static_cast<int64_t>(row.tokens.size()));
}

TEST_F(EditRowsTest, MissingSubjectIsRefusedWithBothTexts) {
  EXPECT_THAT(
      MakeEditRows(*tokenizer_, settings_, MakeEdit("The capital of Jordan is", "Jordania")),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("\"Jordania\""), HasSubstr("0 times"),
                     HasSubstr("\"The capital of Jordan is\""))));
}

TEST_F(EditRowsTest, SubjectThatIsThereTwiceIsRefused) {
  EXPECT_THAT(MakeEditRows(*tokenizer_, settings_, MakeEdit("Jordan and Jordan are", "Jordan")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 times")));
}

TEST_F(EditRowsTest, EmptySubjectOrTargetIsRefused) {
  EXPECT_THAT(MakeEditRows(*tokenizer_, settings_, MakeEdit("The capital", "")),
              StatusIs(absl::StatusCode::kInvalidArgument));
  Edit edit = MakeEdit("The capital", "capital");
  edit.target_new = "";
  EXPECT_THAT(MakeEditRows(*tokenizer_, settings_, edit),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(CountOccurrencesTest, CountsOverlaps) {
  EXPECT_EQ(CountOccurrences("anana", "ana"), 2);
  EXPECT_EQ(CountOccurrences("ana", "ana"), 1);
  EXPECT_EQ(CountOccurrences("an", "ana"), 0);
  EXPECT_EQ(CountOccurrences("", "ana"), 0);
}

}  // namespace
}  // namespace amend
