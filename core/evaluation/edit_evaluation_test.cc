#include "core/evaluation/edit_evaluation.h"

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/evaluation/scorer.h"
#include "core/generation/testing/random_revisions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kPrompt[] = "Makurdi is a city in";
constexpr char kOtherPrompt[] = "The people who live in Tolyatti";

class EditEvaluationTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = LoadCausalLm("models/demo", {}).value();
    tokenizer_ = Tokenizer::FromDirectory("models/demo").value();
    base_ = HookStack::Empty(*model_, 0.5);
  }
  static void TearDownTestSuite() {
    base_.reset();
    tokenizer_.reset();
    model_.reset();
  }

  // The first word that `hooks` goes on with after `prompt`, as far as it is one token.
  static std::string Likely(const HookStack& hooks, const std::string& prompt) {
    const auto scores =
        ScoreContinuations(*model_, hooks, {{tokenizer_->Encode(prompt), {0}}}).value();
    const std::string word(tokenizer_->TokenBytes(scores[0].argmax[0]));
    EXPECT_THAT(word, testing::MatchesRegex(" [A-Za-z]+")) << "after " << prompt;
    return word.substr(1);
  }

  // Nothing of what is said fits anywhere.
  static Edit WrongEdit() {
    Edit edit;
    edit.prompt = kPrompt;
    edit.subject = "Makurdi";
    edit.target_new = "zebra";
    return edit;
  }

  static EditScores Evaluate(const HookStack& before, const HookStack& after, const Edit& edit) {
    const auto scores = EvaluateEdits(*model_, *tokenizer_, before, after, {edit});
    EXPECT_THAT(scores, IsOk());
    return (*scores)[0];
  }

  // A revision that changes what follows both prompts.
  static std::shared_ptr<const HookStack> Changed() {
    std::mt19937 random(5);
    return RevisionThatFiresOn(*model_, base_, Revision(1), {LayerIndex(5)},
                               {tokenizer_->Encode(kPrompt), tokenizer_->Encode(kOtherPrompt)},
                               /*size=*/50, random);
  }

  static std::shared_ptr<const CausalLm> model_;
  static std::unique_ptr<Tokenizer> tokenizer_;
  static std::shared_ptr<const HookStack> base_;
};
std::shared_ptr<const CausalLm> EditEvaluationTest::model_;
std::unique_ptr<Tokenizer> EditEvaluationTest::tokenizer_;
std::shared_ptr<const HookStack> EditEvaluationTest::base_;

TEST_F(EditEvaluationTest, ReliabilityIsOneWhereTheModelSaysTheTarget) {
  Edit edit = WrongEdit();
  edit.target_new = Likely(*base_, kPrompt);
  EXPECT_EQ(Evaluate(*base_, *base_, edit).reliability, 1.0);
}

TEST_F(EditEvaluationTest, ReliabilityIsZeroWhereItSaysSomethingElse) {
  EXPECT_EQ(Evaluate(*base_, *base_, WrongEdit()).reliability, 0.0);
}

TEST_F(EditEvaluationTest, ReliabilityIsTheShareOfTheTargetsTokens) {
  Edit edit = WrongEdit();
  edit.target_new = Likely(*base_, kPrompt) + " zebra";
  const ScoreItem item{tokenizer_->Encode(edit.prompt), tokenizer_->Encode(" " + edit.target_new)};
  const auto scores = ScoreContinuations(*model_, *base_, {item}).value();
  double same = 0;
  for (size_t i = 0; i < item.continuation.size(); ++i) {
    same += scores[0].argmax[i] == item.continuation[i];
  }
  const double share = same / static_cast<double>(item.continuation.size());
  ASSERT_GT(share, 0);
  ASSERT_LT(share, 1);
  EXPECT_DOUBLE_EQ(*Evaluate(*base_, *base_, edit).reliability, share);
}

TEST_F(EditEvaluationTest, WithoutParaphrasesAndProbesTheirScoresAreAbsent) {
  const EditScores scores = Evaluate(*base_, *base_, WrongEdit());
  EXPECT_TRUE(scores.reliability.has_value());
  EXPECT_FALSE(scores.generality.has_value());
  EXPECT_FALSE(scores.locality.has_value());
}

TEST_F(EditEvaluationTest, GeneralityIsTheMeanOverTheParaphrases) {
  Edit edit = WrongEdit();
  edit.target_new = Likely(*base_, kPrompt);
  ASSERT_NE(Likely(*base_, "The"), edit.target_new);
  edit.paraphrases = {kPrompt, "The", "The", kPrompt, "The"};
  EXPECT_DOUBLE_EQ(*Evaluate(*base_, *base_, edit).generality, 0.4);
}

TEST_F(EditEvaluationTest, LocalityIsOneWhereNothingChangedHoweverWrongTheAnswer) {
  Edit edit = WrongEdit();
  edit.probes = {{kOtherPrompt, "zebra"}, {kPrompt, "nothing of the kind"}};
  EXPECT_EQ(Evaluate(*base_, *base_, edit).locality, 1.0);
}

TEST_F(EditEvaluationTest, LocalityComparesBeforeWithAfterOverTheAnswersTokens) {
  const auto after = Changed();
  Edit edit = WrongEdit();
  edit.probes = {{kPrompt, "Nigeria and more"}, {kOtherPrompt, "speak the language"}};
  double sum = 0;
  for (const Probe& probe : edit.probes) {
    const ScoreItem item{tokenizer_->Encode(probe.prompt), tokenizer_->Encode(" " + probe.answer)};
    const auto old_scores = ScoreContinuations(*model_, *base_, {item}).value();
    const auto new_scores = ScoreContinuations(*model_, *after, {item}).value();
    double same = 0;
    for (size_t i = 0; i < item.continuation.size(); ++i) {
      same += old_scores[0].argmax[i] == new_scores[0].argmax[i];
    }
    sum += same / static_cast<double>(item.continuation.size());
  }
  ASSERT_LT(sum, 2) << "the revision changes nothing here";
  EXPECT_DOUBLE_EQ(*Evaluate(*base_, *after, edit).locality, sum / 2);
}

TEST_F(EditEvaluationTest, ReliabilityAndGeneralityAreThoseOfAfter) {
  const auto after = Changed();
  Edit edit = WrongEdit();
  edit.target_new = Likely(*base_, kPrompt);
  const auto tokens = tokenizer_->Encode(" " + edit.target_new);
  const auto changed =
      ScoreContinuations(*model_, *after, {{tokenizer_->Encode(kPrompt), tokens}}).value();
  ASSERT_NE(changed[0].argmax, tokens) << "the revision changes nothing here";
  edit.paraphrases = {kPrompt};
  const EditScores scores = Evaluate(*base_, *after, edit);
  EXPECT_EQ(scores.reliability, 0.0);
  EXPECT_EQ(scores.generality, 0.0);
}

TEST_F(EditEvaluationTest, EachEditGetsScoresOfItsOwn) {
  Edit right = WrongEdit();
  right.target_new = Likely(*base_, kPrompt);
  Edit with_all = WrongEdit();
  with_all.paraphrases = {"The", kOtherPrompt};
  with_all.probes = {{kPrompt, "zebra"}};
  right.paraphrases = {kPrompt};
  AMEND_ASSERT_OK_AND_ASSIGN(const auto scores, EvaluateEdits(*model_, *tokenizer_, *base_, *base_,
                                                              {with_all, right, WrongEdit()}));
  ASSERT_EQ(scores.size(), 3u);
  EXPECT_EQ(scores[0], (EditScores{0.0, 0.0, 1.0}));
  EXPECT_EQ(scores[1], (EditScores{1.0, 1.0, std::nullopt}));
  EXPECT_EQ(scores[2], (EditScores{0.0, std::nullopt, std::nullopt}));
}

TEST_F(EditEvaluationTest, NoEditsGiveNoScores) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto scores,
                             EvaluateEdits(*model_, *tokenizer_, *base_, *base_, {}));
  EXPECT_THAT(scores, IsEmpty());
}

TEST_F(EditEvaluationTest, APromptPastTheContextIsInvalid) {
  Edit edit = WrongEdit();
  for (int i = 0; i < 300; ++i) edit.prompt += " city";
  EXPECT_THAT(EvaluateEdits(*model_, *tokenizer_, *base_, *base_, {edit}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("context is 256")));
}

TEST(MeanScoresTest, MeansAreOverTheEditsThatHaveTheScore) {
  const EditScores mean = MeanScores(
      {{1.0, 0.5, std::nullopt}, {0.5, std::nullopt, std::nullopt}, {0.0, 1.0, std::nullopt}});
  EXPECT_EQ(mean, (EditScores{0.5, 0.75, std::nullopt}));
}

TEST(MeanScoresTest, OfNothingEveryScoreIsAbsent) { EXPECT_EQ(MeanScores({}), EditScores{}); }

}  // namespace
}  // namespace amend
