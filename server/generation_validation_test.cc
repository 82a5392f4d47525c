#include "server/generation_validation.h"

#include <cmath>
#include <limits>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/testing/byte_tokenizer.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class GenerationValidationTest : public ::testing::Test {
 protected:
  GenerationValidationTest() {
    request_.set_prompt("ab");
    limits_.context_length = 8;
    limits_.vocabulary_size = 256;
    limits_.max_token_bytes = 1;
  }

  absl::StatusOr<GenerationPlan> Plan() { return PlanGeneration(request_, tokenizer_, limits_); }

  ByteTokenizer tokenizer_;
  GenerationLimits limits_;
  v1::GenerateRequest request_;
};

TEST_F(GenerationValidationTest, UnsetFieldsGetTheirDefaults) {
  AMEND_ASSERT_OK_AND_ASSIGN(const GenerationPlan plan, Plan());
  EXPECT_THAT(plan.prompt, ElementsAre('a', 'b'));
  EXPECT_EQ(plan.max_new_tokens, 64);
  EXPECT_EQ(plan.sampling.temperature, 0);
  EXPECT_EQ(plan.sampling.top_p, 1);
  EXPECT_EQ(plan.sampling.repetition_penalty, 1);
}

TEST_F(GenerationValidationTest, AMissingPromptIsRefused) {
  request_.clear_input();
  EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("give prompt or token_ids")));
}

TEST_F(GenerationValidationTest, AnEmptyPromptIsRefused) {
  request_.set_prompt("");
  EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("prompt: is empty")));
}

TEST_F(GenerationValidationTest, APromptThatIsNotUtf8IsRefusedWithThePlace) {
  request_.set_prompt("ab\xff");
  EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("byte 2")));
}

TEST_F(GenerationValidationTest, APromptAsLongAsTheContextIsTaken) {
  request_.set_prompt("abcdefgh");
  EXPECT_THAT(Plan(), IsOk());
}

TEST_F(GenerationValidationTest, ATooLongPromptIsRefusedWithBothLengths) {
  request_.set_prompt("abcdefghi");
  const auto plan = Plan();
  EXPECT_THAT(plan, StatusIs(kInvalid, AllOf(HasSubstr("9 tokens"), HasSubstr("holds 8"))));
  EXPECT_EQ(ReasonOf(plan.status()), "PROMPT_TOO_LONG");
}

TEST_F(GenerationValidationTest, ATextFarTooLongIsRefusedWithoutTokenizing) {
  request_.set_prompt(std::string(1000, 'x'));
  EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("at least 1000 tokens")));
  EXPECT_EQ(tokenizer_.encode_count(), 0);
}

TEST_F(GenerationValidationTest, TooManyTokenIdsAreRefusedWithBothLengths) {
  for (int i = 0; i < 9; ++i) request_.mutable_token_ids()->add_ids(i);
  EXPECT_THAT(Plan(), StatusIs(kInvalid, AllOf(HasSubstr("9 tokens"), HasSubstr("holds 8"))));
}

TEST_F(GenerationValidationTest, ATokenIdOutsideTheVocabularyIsRefusedWithItsPlace) {
  request_.mutable_token_ids()->add_ids(3);
  request_.mutable_token_ids()->add_ids(256);
  EXPECT_THAT(Plan(), StatusIs(kInvalid, AllOf(HasSubstr("token_ids.ids[1]"), HasSubstr("is 256"),
                                               HasSubstr("0 to 255"))));
  request_.mutable_token_ids()->set_ids(1, -1);
  EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("is -1")));
}

TEST_F(GenerationValidationTest, EmptyTokenIdsAreRefused) {
  request_.mutable_token_ids();
  EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("token_ids: is empty")));
}

TEST_F(GenerationValidationTest, MaxNewTokensPastTheContextIsRefusedWithBoth) {
  request_.set_max_new_tokens(9);
  EXPECT_THAT(Plan(), StatusIs(kInvalid, AllOf(HasSubstr("is 9"), HasSubstr("context of 8"))));
  request_.set_max_new_tokens(-1);
  EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("is -1")));
}

TEST_F(GenerationValidationTest, ATemperatureThatIsNotANumberIsRefused) {
  for (const float bad : {std::nanf(""), -0.5f, std::numeric_limits<float>::infinity()}) {
    request_.set_temperature(bad);
    EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("temperature"))) << bad;
  }
}

TEST_F(GenerationValidationTest, TopPOutsideItsRangeIsRefused) {
  for (const float bad : {-0.1f, 1.5f, std::nanf("")}) {
    request_.set_top_p(bad);
    EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("top_p"))) << bad;
  }
}

TEST_F(GenerationValidationTest, ANegativeTopKOrPenaltyIsRefused) {
  request_.set_top_k(-1);
  EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("top_k: is -1")));
  request_.set_top_k(0);
  request_.set_repetition_penalty(-1);
  EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("repetition_penalty: is -1")));
}

TEST_F(GenerationValidationTest, StopStringsOverTheLimitsAreRefused) {
  for (int i = 0; i < 17; ++i) request_.add_stop("x");
  EXPECT_THAT(Plan(), StatusIs(kInvalid, AllOf(HasSubstr("17"), HasSubstr("16"))));
  request_.clear_stop();
  request_.add_stop(std::string(257, 'x'));
  EXPECT_THAT(Plan(), StatusIs(kInvalid, AllOf(HasSubstr("257"), HasSubstr("256"))));
  request_.set_stop(0, "");
  EXPECT_THAT(Plan(), StatusIs(kInvalid, HasSubstr("stop[0]: is empty")));
}

TEST_F(GenerationValidationTest, EveryErrorHasAReason) {
  request_.set_temperature(-1);
  EXPECT_EQ(ReasonOf(Plan().status()), "GENERATION_INVALID");
}

TEST_F(GenerationValidationTest, AContinuationIsTokenizedWithALeadingSpace) {
  v1::ScoreRequest request;
  auto* item = request.add_items();
  item->set_prompt("a");
  item->set_continuation("b");
  AMEND_ASSERT_OK_AND_ASSIGN(const auto items, PlanScore(request, tokenizer_, limits_));
  ASSERT_EQ(items.size(), 1u);
  EXPECT_THAT(items[0].prompt, ElementsAre('a'));
  EXPECT_THAT(items[0].continuation, ElementsAre(' ', 'b'));
}

// As Llama's: every text begins with a token of its own.
class BeginningTokenizer : public ByteTokenizer {
 public:
  std::vector<TokenId> Encode(absl::string_view text) const override {
    std::vector<TokenId> ids = ByteTokenizer::Encode(text);
    ids.insert(ids.begin(), 1);
    return ids;
  }
  std::vector<TokenId> EncodeContinuation(absl::string_view text) const override {
    return ByteTokenizer::Encode(text);
  }
};

TEST_F(GenerationValidationTest, WhatAModelExpectsBeforeATextStandsBeforePromptsAlone) {
  const BeginningTokenizer tokenizer;
  request_.set_prompt("ab");
  AMEND_ASSERT_OK_AND_ASSIGN(const GenerationPlan plan,
                             PlanGeneration(request_, tokenizer, limits_));
  EXPECT_THAT(plan.prompt, ElementsAre(1, 'a', 'b'));
  v1::ScoreRequest request;
  v1::ScoreRequest::Item* item = request.add_items();
  item->set_prompt("ab");
  item->set_continuation("c");
  AMEND_ASSERT_OK_AND_ASSIGN(const auto items, PlanScore(request, tokenizer, limits_));
  EXPECT_THAT(items[0].prompt, ElementsAre(1, 'a', 'b'));
  EXPECT_THAT(items[0].continuation, ElementsAre(' ', 'c'));
}

TEST_F(GenerationValidationTest, ScoreItemsOverTheLimitAreRefused) {
  v1::ScoreRequest request;
  EXPECT_THAT(PlanScore(request, tokenizer_, limits_), StatusIs(kInvalid, HasSubstr("0 items")));
  for (int i = 0; i < 1025; ++i) request.add_items();
  EXPECT_THAT(PlanScore(request, tokenizer_, limits_),
              StatusIs(kInvalid, AllOf(HasSubstr("1025"), HasSubstr("1024"))));
}

TEST_F(GenerationValidationTest, AScoreItemPastTheContextIsRefusedWithItsPlace) {
  v1::ScoreRequest request;
  auto* item = request.add_items();
  item->set_prompt("abcde");
  item->set_continuation("xyz");
  const auto items = PlanScore(request, tokenizer_, limits_);
  EXPECT_THAT(items, StatusIs(kInvalid, AllOf(HasSubstr("items[0]"), HasSubstr("9 tokens"))));
  EXPECT_EQ(ReasonOf(items.status()), "PROMPT_TOO_LONG");
}

TEST_F(GenerationValidationTest, AnEmptyContinuationIsRefused) {
  v1::ScoreRequest request;
  request.add_items()->set_prompt("a");
  EXPECT_THAT(PlanScore(request, tokenizer_, limits_),
              StatusIs(kInvalid, HasSubstr("items[0].continuation: is empty")));
}

TEST_F(GenerationValidationTest, TheLongestTokenComesFromTheTokenizer) {
  EXPECT_EQ(MakeGenerationLimits(8, 256, tokenizer_).max_token_bytes, 1);
}

}  // namespace
}  // namespace amend
