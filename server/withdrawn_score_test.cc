#include "server/withdrawn_score.h"

#include <memory>
#include <random>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/generation/testing/random_revisions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr char kPrompt[] = "Makurdi is a city in";
using Stack = std::shared_ptr<const HookStack>;

// The demo model knows that Makurdi is a city in Nigeria.
class WithdrawnScoreTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = *LoadCausalLm("models/demo", LoadOptions());
    tokenizer_ = *Tokenizer::FromDirectory("models/demo");
    base_ = HookStack::Empty(*model_, 0.5);
  }
  static void TearDownTestSuite() {
    base_.reset();
    tokenizer_.reset();
    model_.reset();
  }

  // `parent` and an edit that makes the model continue kPrompt with something else.
  static Stack Changed(const Stack& parent, int64_t revision, int seed) {
    std::mt19937 random(static_cast<unsigned>(seed));
    return RevisionThatFiresOn(*model_, parent, Revision(revision), {LayerIndex(5)},
                               {tokenizer_->Encode(kPrompt)}, /*size=*/50, random);
  }
  // Of an edit to what the unedited model says anyway, which keeps the tests short.
  static absl::StatusOr<WithdrawnScore> Score(const Stack& before, const Stack& after,
                                              const Stack& unedited, const Stack& preceding) {
    GateRequest request;
    request.before = before;
    request.after = after;
    request.unedited = unedited;
    Edit edit;
    edit.prompt = kPrompt;
    edit.target_new = "Nigeria";
    request.withdrawn = {{EditId{Revision(1), 0}, edit, preceding}};
    const auto scores = ScoreWithdrawn(*model_, *tokenizer_, request);
    if (!scores.ok()) return scores.status();
    return scores->at(0);
  }

  static std::shared_ptr<const CausalLm> model_;
  static std::shared_ptr<const Tokenizer> tokenizer_;
  static Stack base_;
};

std::shared_ptr<const CausalLm> WithdrawnScoreTest::model_;
std::shared_ptr<const Tokenizer> WithdrawnScoreTest::tokenizer_;
Stack WithdrawnScoreTest::base_;

TEST_F(WithdrawnScoreTest, WhatAnswersAsTheUneditedModelIsReverted) {
  const Stack other = Changed(base_, 1, 5);
  AMEND_ASSERT_OK_AND_ASSIGN(const WithdrawnScore score, Score(base_, other, other, base_));
  EXPECT_TRUE(score.reverted);
  EXPECT_TRUE(score.given_before);
  EXPECT_FALSE(score.given_after);
  EXPECT_TRUE(score.finite);
  EXPECT_EQ(score.id, (EditId{Revision(1), 0}));
}

TEST_F(WithdrawnScoreTest, WhatAnswersAsWhatPrecededTheEditIsReverted) {
  const Stack other = Changed(base_, 1, 5);
  AMEND_ASSERT_OK_AND_ASSIGN(const WithdrawnScore score, Score(base_, other, base_, other));
  EXPECT_TRUE(score.reverted);
  // Where that is not known any more, it is not.
  AMEND_ASSERT_OK_AND_ASSIGN(const WithdrawnScore unknown, Score(base_, other, base_, nullptr));
  EXPECT_FALSE(unknown.reverted);
}

TEST_F(WithdrawnScoreTest, WhatIsStillGivenIsSeen) {
  const Stack other = Changed(base_, 1, 5);
  AMEND_ASSERT_OK_AND_ASSIGN(const WithdrawnScore score, Score(base_, base_, other, other));
  EXPECT_TRUE(score.given_before);
  EXPECT_TRUE(score.given_after);
  EXPECT_FALSE(score.reverted);
}

TEST_F(WithdrawnScoreTest, EachEditIsHeldAgainstWhatPrecededIt) {
  const Stack other = Changed(base_, 1, 5);
  GateRequest request;
  request.before = base_;
  request.after = other;
  Edit edit;
  edit.prompt = kPrompt;
  edit.target_new = "Nigeria";
  request.unedited = base_;
  for (const Stack& preceding : {base_, base_, other, Stack(), other}) {
    const auto index = static_cast<int32_t>(request.withdrawn.size());
    request.withdrawn.push_back({EditId{Revision(1), index}, edit, preceding});
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const auto scores, ScoreWithdrawn(*model_, *tokenizer_, request));
  std::vector<bool> reverted;
  for (const WithdrawnScore& score : scores) reverted.push_back(score.reverted);
  EXPECT_THAT(reverted, testing::ElementsAre(false, false, true, false, true));
}

TEST_F(WithdrawnScoreTest, NumbersThatAreNotFiniteAreSeen) {
  std::mt19937 random(5);
  const Stack broken = RevisionThatFiresOn(*model_, base_, Revision(1), {LayerIndex(5)},
                                           {tokenizer_->Encode(kPrompt)}, /*size=*/3e38F, random);
  AMEND_ASSERT_OK_AND_ASSIGN(const WithdrawnScore score, Score(base_, broken, base_, base_));
  EXPECT_FALSE(score.finite);
}

}  // namespace
}  // namespace amend
