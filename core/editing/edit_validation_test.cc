#include "core/editing/edit_validation.h"

#include <ostream>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {

void PrintTo(const EditViolation& violation, std::ostream* os) {
  *os << violation.index << " " << violation.field << ": " << violation.description;
}

namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kContext = 64;

template <typename Matcher>
auto Violation(int index, const std::string& field, Matcher description) {
  return AllOf(Field(&EditViolation::index, index), Field(&EditViolation::field, field),
               Field(&EditViolation::description, description));
}

class EditValidationTest : public testing::Test {
 protected:
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(tokenizer_, Tokenizer::FromDirectory("models/demo"));
    edit_.prompt = "The capital of Jordan is";
    edit_.subject = "Jordan";
    edit_.target_new = "Bangui";
    edit_.paraphrases = {"The government of Jordan has its seat in"};
    edit_.probes = {{"The capital of Burkina Faso is", "Ouagadougou"}};
    settings_.context_templates = {"I saw it. {}"};
  }

  std::vector<EditViolation> Violations() const { return Violations({edit_}); }
  std::vector<EditViolation> Violations(const std::vector<Edit>& edits) const {
    return ValidateEdits(*tokenizer_, settings_, kContext, edits);
  }

  // Text of `tokens` tokens.
  std::string Long(int tokens) const {
    std::string text = "a";
    for (int i = 1; i < tokens; ++i) absl::StrAppend(&text, " a");
    return text;
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  EditSettings settings_;
  Edit edit_;
};

TEST_F(EditValidationTest, GoodEditHasNoViolation) { EXPECT_THAT(Violations(), IsEmpty()); }

TEST_F(EditValidationTest, NoEditsHaveNoViolation) { EXPECT_THAT(Violations({}), IsEmpty()); }

TEST_F(EditValidationTest, EmptyPrompt) {
  edit_.prompt = "";
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "prompt", HasSubstr("is empty"))));
}

TEST_F(EditValidationTest, EmptySubject) {
  edit_.subject = "";
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "subject", HasSubstr("is empty"))));
}

TEST_F(EditValidationTest, EmptyTarget) {
  edit_.target_new = "";
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "target_new", HasSubstr("is empty"))));
}

TEST_F(EditValidationTest, NulIsNamedWithItsPlace) {
  edit_.target_new = std::string("Ban\0gui", 7);
  EXPECT_THAT(Violations(),
              ElementsAre(Violation(0, "target_new", HasSubstr("holds a NUL at byte 3"))));
}

TEST_F(EditValidationTest, InvalidUtf8IsNamedWithItsPlace) {
  edit_.target_new = "B\xc3\xa9z\xff";
  EXPECT_THAT(Violations(),
              ElementsAre(Violation(0, "target_new", HasSubstr("is not valid UTF-8 at byte 4"))));
}

TEST_F(EditValidationTest, TextCutWithinACharacterIsNotValid) {
  edit_.prompt += "\xc3";
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "prompt", HasSubstr("is not valid UTF-8"))));
}

TEST_F(EditValidationTest, MissingSubjectNamesBothTexts) {
  edit_.subject = "Peru";
  EXPECT_THAT(Violations(),
              ElementsAre(Violation(0, "subject",
                                    AllOf(HasSubstr("\"Peru\" is not in the prompt"),
                                          HasSubstr("\"The capital of Jordan is\"")))));
}

TEST_F(EditValidationTest, SubjectThatIsThereTwice) {
  edit_.prompt = "Jordan and Jordan is";
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "subject", HasSubstr("2 times"))));
}

TEST_F(EditValidationTest, BracesAndLineBreaksArePartOfAPrompt) {
  edit_.prompt = "{} {0}\nThe capital of Jordan\r\n\tis {";
  EXPECT_THAT(Violations(), IsEmpty());
}

TEST_F(EditValidationTest, ANulInThePromptIsNamedWithItsPlace) {
  edit_.prompt = std::string("The\0capital of Jordan is", 24);
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "prompt", HasSubstr("a NUL at byte 3"))));
}

TEST_F(EditValidationTest, ATargetOfFiveHundredTokensNamesBothLengths) {
  edit_.target_new = Long(500);
  edit_.paraphrases.clear();
  EXPECT_THAT(Violations(),
              ElementsAre(Violation(0, "prompt",
                                    AllOf(HasSubstr("with context template and target is 5"),
                                          HasSubstr("the context is 64")))));
}

TEST_F(EditValidationTest, ALongTextIsQuotedByItsBeginning) {
  edit_.prompt = "\xc3\xa4" + std::string(100000, 'x');
  const std::vector<EditViolation> violations = Violations();
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_THAT(violations[0].description, HasSubstr("\"\xc3\xa4xxx"));
  EXPECT_LT(violations[0].description.size(), 200u);
  // Cut between two characters, not within one.
  edit_.prompt.clear();
  for (int i = 0; i < 100; ++i) edit_.prompt += "\xe2\x82\xac";
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "subject", HasSubstr("\xe2\x82\xac...\""))));
}

TEST_F(EditValidationTest, TooManyTextsForTheGateAreTold) {
  edit_.paraphrases.assign(kMaxGateTexts + 1, "In Jordan");
  edit_.probes.assign(kMaxGateTexts + 1, edit_.probes[0]);
  edit_.client_edit_id = std::string(kMaxClientEditIdBytes + 1, 'x');
  EXPECT_THAT(Violations(),
              ElementsAre(Violation(0, "paraphrases", HasSubstr("are 101, at most 100")),
                          Violation(0, "locality_probes", HasSubstr("are 101, at most 100")),
                          Violation(0, "client_edit_id", HasSubstr("has 257 bytes, at most 256"))));
}

TEST_F(EditValidationTest, PromptBeyondTheContextNamesBothLengths) {
  edit_.prompt = "Jordan " + Long(kContext);
  const size_t rows =
      tokenizer_->Encode("I saw it. " + edit_.prompt).size() + tokenizer_->Encode(" Bangui").size();
  EXPECT_THAT(Violations(),
              ElementsAre(Violation(0, "prompt",
                                    AllOf(HasSubstr(absl::StrCat("is ", rows, " tokens")),
                                          HasSubstr("the context is 64")))));
}

TEST_F(EditValidationTest, PromptThatFillsTheContextIsGood) {
  settings_.context_templates.clear();
  edit_.paraphrases.clear();
  edit_.target_new = "a";
  const int head = static_cast<int>(tokenizer_->Encode("Jordan").size());
  edit_.prompt = "Jordan " + Long(kContext - head - 1);
  ASSERT_EQ(tokenizer_->Encode(edit_.prompt).size(), static_cast<size_t>(kContext - 1));
  EXPECT_THAT(Violations(), IsEmpty());
  edit_.prompt += " a";
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "prompt", HasSubstr("is 65 tokens"))));
}

TEST_F(EditValidationTest, TemplateCountsTowardsTheContext) {
  settings_.context_templates.push_back(Long(kContext) + ". {}");
  EXPECT_THAT(Violations(),
              ElementsAre(Violation(0, "prompt", HasSubstr("with context template and target"))));
}

TEST_F(EditValidationTest, ParaphraseBeyondTheContext) {
  edit_.paraphrases.push_back(Long(kContext));
  EXPECT_THAT(Violations(),
              ElementsAre(Violation(0, "paraphrases[1]", HasSubstr("the context is 64"))));
}

TEST_F(EditValidationTest, EmptyParaphrase) {
  edit_.paraphrases.push_back("");
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "paraphrases[1]", HasSubstr("is empty"))));
}

TEST_F(EditValidationTest, ProbeBeyondTheContextCountsItsAnswer) {
  edit_.probes.push_back({Long(kContext - 1), "a a"});
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "locality_probes[1].prompt",
                                                  HasSubstr("is 65 tokens, the context is 64"))));
}

TEST_F(EditValidationTest, ProbeWithoutPromptOrAnswer) {
  edit_.probes = {{"", ""}};
  EXPECT_THAT(Violations(),
              ElementsAre(Violation(0, "locality_probes[0].prompt", HasSubstr("is empty")),
                          Violation(0, "locality_probes[0].answer", HasSubstr("is empty"))));
}

TEST_F(EditValidationTest, ProbeWithInvalidUtf8) {
  edit_.probes = {{"The capital", "\xf0\x28"}};
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "locality_probes[0].answer",
                                                  HasSubstr("is not valid UTF-8 at byte 0"))));
}

TEST_F(EditValidationTest, SubjectOfAnotherEditOfTheBatchIsNamed) {
  Edit other = edit_;
  other.subject = "capital";
  Edit duplicate = edit_;
  duplicate.target_new = "Lima";
  EXPECT_THAT(
      Violations({edit_, other, duplicate}),
      ElementsAre(Violation(2, "subject", AllOf(HasSubstr("\"Jordan\""), HasSubstr("of edit 0")))));
}

TEST_F(EditValidationTest, EachEditIsJudgedOnItsOwn) {
  Edit bad = edit_;
  bad.subject = "Peru";
  Edit other = edit_;
  other.subject = "capital";
  other.target_new = "";
  EXPECT_THAT(Violations({edit_, bad, other}),
              ElementsAre(Violation(1, "subject", HasSubstr("\"Peru\"")),
                          Violation(2, "target_new", HasSubstr("is empty"))));
}

TEST_F(EditValidationTest, TwoProblemsOfOneEditAreBothTold) {
  edit_.prompt = "";
  edit_.target_new = "";
  EXPECT_THAT(Violations(), ElementsAre(Violation(0, "prompt", HasSubstr("is empty")),
                                        Violation(0, "target_new", HasSubstr("is empty"))));
}

}  // namespace
}  // namespace amend
