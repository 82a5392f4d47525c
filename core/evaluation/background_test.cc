#include "core/evaluation/background.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ScoredContinuation Scored(std::vector<float> logprobs, std::vector<TokenId> argmax) {
  return {std::move(logprobs), std::move(argmax)};
}

TEST(MakeBackgroundItemsTest, EveryTokenButTheFirstIsPredicted) {
  const std::unique_ptr<Tokenizer> tokenizer = *Tokenizer::FromDirectory("models/demo");
  const std::string text = "Nobody in the cabin wanted to embargo again.";
  const std::vector<TokenId> tokens = tokenizer->Encode(text);
  const auto items = MakeBackgroundItems(*tokenizer, {text}, 100);
  ASSERT_THAT(items, SizeIs(1));
  EXPECT_THAT(items[0].prompt, ElementsAre(tokens[0]));
  EXPECT_EQ(items[0].continuation, std::vector<TokenId>(tokens.begin() + 1, tokens.end()));
}

TEST(MakeBackgroundItemsTest, LongTextsAreCutAndShortOnesLeftOut) {
  const std::unique_ptr<Tokenizer> tokenizer = *Tokenizer::FromDirectory("models/demo");
  const auto items =
      MakeBackgroundItems(*tokenizer, {"", ".", "one two three four five six seven eight"}, 4);
  ASSERT_THAT(items, SizeIs(1));
  EXPECT_THAT(items[0].continuation, SizeIs(3));
  EXPECT_THAT(MakeBackgroundItems(*tokenizer, {"one two three"}, 1), IsEmpty());
}

TEST(CompareBackgroundTest, PredictionsAndPerplexityAreOverAllTokens) {
  const auto scores = CompareBackground({Scored({-1, -2}, {5, 6}), Scored({-3}, {7})},
                                        {Scored({-1, -2}, {5, 9}), Scored({-6}, {7})});
  ASSERT_TRUE(scores.has_value());
  EXPECT_DOUBLE_EQ(scores->unchanged, 2.0 / 3);
  // The mean log likelihood fell from -2 to -3.
  EXPECT_DOUBLE_EQ(scores->perplexity_change, std::exp(1.0) - 1);
}

TEST(CompareBackgroundTest, NothingChangesForTheSameModel) {
  const std::vector<ScoredContinuation> same = {Scored({-1, -2}, {5, 6})};
  const auto scores = CompareBackground(same, same);
  ASSERT_TRUE(scores.has_value());
  EXPECT_EQ(scores->unchanged, 1);
  EXPECT_EQ(scores->perplexity_change, 0);
}

TEST(CompareBackgroundTest, ANumberThatIsNotFiniteShows) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto scores = CompareBackground({Scored({-1}, {5})}, {Scored({nan}, {5})});
  ASSERT_TRUE(scores.has_value());
  EXPECT_FALSE(std::isfinite(scores->perplexity_change));
}

TEST(CompareBackgroundTest, OfNoTextThereIsNoScore) {
  EXPECT_EQ(CompareBackground({}, {}), std::nullopt);
}

}  // namespace
}  // namespace amend
