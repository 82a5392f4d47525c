#include "core/generation/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

SamplingParams Warm(float temperature = 1.0f) {
  SamplingParams params;
  params.temperature = temperature;
  params.seed = 7;
  return params;
}

TokenId SampleOnce(const SamplingParams& params, const std::vector<float>& logits,
                   const std::vector<TokenId>& seen = {}) {
  return Sampler(params).Sample(logits, seen).value().id;
}

// Share of each token in `draws` draws.
std::map<TokenId, double> Shares(const SamplingParams& params, const std::vector<float>& logits,
                                 int draws = 20000) {
  Sampler sampler(params);
  std::map<TokenId, double> shares;
  for (int i = 0; i < draws; ++i) shares[sampler.Sample(logits, {}).value().id] += 1.0 / draws;
  return shares;
}

TEST(SamplerTest, GreedyTakesTheBestAndTheLowestIdAmongEquals) {
  EXPECT_EQ(SampleOnce({}, {1, 3, 2, 3}), 1);
}

TEST(SamplerTest, GreedyIgnoresWhatIsNotFinite) {
  EXPECT_EQ(SampleOnce({}, {kNaN, -kInf, -5, kInf, -4, kNaN}), 4);
}

TEST(SamplerTest, NoFiniteLogitIsInternal) {
  for (const SamplingParams& params : {SamplingParams(), Warm()}) {
    const absl::Status status = Sampler(params).Sample({kNaN, -kInf}, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr("none of 2 logits"));
  }
  EXPECT_EQ(Sampler({}).Sample({}, {}).status().code(), absl::StatusCode::kInternal);
}

TEST(SamplerTest, LogprobIsTheModelsOwnWhateverTheParams) {
  SamplingParams params = Warm(0.01f);
  params.repetition_penalty = 2;
  params.top_k = 1;
  const SampledToken token = Sampler(params).Sample({0, 2, 1}, {1}).value();
  ASSERT_EQ(token.id, 1);  // 2 / 2 ties with 1
  EXPECT_NEAR(token.logprob, 2 - std::log(1 + std::exp(2) + std::exp(1)), 1e-6);
}

TEST(SamplerTest, LogprobOfLargeLogitsDoesNotOverflow) {
  EXPECT_NEAR(Sampler({}).Sample({1e30f, 1e30f, -1e30f}, {}).value().logprob, -std::log(2), 1e-6);
}

TEST(SamplerTest, SharesFollowTheSoftmaxAtTheTemperature) {
  const std::map<TokenId, double> shares = Shares(Warm(2.0f), {0, 2, kNaN, 4});
  const double total = 1 + std::exp(1) + std::exp(2);
  EXPECT_THAT(shares, ElementsAre(Key(0), Key(1), Key(3)));
  EXPECT_NEAR(shares.at(0), 1 / total, 0.01);
  EXPECT_NEAR(shares.at(1), std::exp(1) / total, 0.01);
  EXPECT_NEAR(shares.at(3), std::exp(2) / total, 0.01);
}

TEST(SamplerTest, TopKKeepsKAndTheLowestIdsAmongEquals) {
  SamplingParams params = Warm();
  params.top_k = 3;
  EXPECT_THAT(Shares(params, {1, 2, 1, 0, 1}), ElementsAre(Key(0), Key(1), Key(2)));
}

TEST(SamplerTest, TopKAboveTheVocabularyKeepsAll) {
  SamplingParams params = Warm();
  params.top_k = 10;
  EXPECT_THAT(Shares(params, {1, 1}), ElementsAre(Key(0), Key(1)));
}

TEST(SamplerTest, TopPKeepsTheFewestThatReachIt) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.5f), std::log(0.1f),
                                     std::log(0.3f)};
  SamplingParams params = Warm();
  params.top_p = 0.79f;
  const std::map<TokenId, double> shares = Shares(params, logits);
  EXPECT_THAT(shares, ElementsAre(Key(1), Key(3)));
  EXPECT_NEAR(shares.at(1), 5.0 / 8, 0.015);
  params.top_p = 0.85f;
  EXPECT_THAT(Shares(params, logits), ElementsAre(Key(0), Key(1), Key(3)));
}

TEST(SamplerTest, TinyTopPIsGreedy) {
  SamplingParams params = Warm();
  params.top_p = 1e-30f;
  EXPECT_THAT(Shares(params, {1, 1.5f, 1.5f}, 100), ElementsAre(Key(1)));
}

TEST(SamplerTest, TopPCountsAfterTopK) {
  SamplingParams params = Warm();
  params.top_k = 2;
  params.top_p = 0.49f;
  // Of all three the first has 1/3; of the two that stay 1/2.
  EXPECT_THAT(Shares(params, {1, 1, 1}, 100), ElementsAre(Key(0)));
}

TEST(SamplerTest, TopPAgreesWithAFullSortOnALargeVocabulary) {
  std::mt19937_64 random(5);
  std::vector<float> logits(3000);
  for (float& logit : logits) logit = static_cast<float>(random() % 1000) / 500;
  SamplingParams params = Warm();
  params.top_p = 0.6f;
  std::vector<TokenId> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<TokenId>(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](TokenId a, TokenId b) { return logits[a] > logits[b]; });
  double total = 0;
  for (float logit : logits) total += std::exp(logit);
  double sum = 0;
  size_t kept = 0;
  while (sum < 0.6f * total) sum += std::exp(logits[order[kept++]]);
  std::vector<TokenId> expected(order.begin(), order.begin() + kept);
  std::sort(expected.begin(), expected.end());

  std::vector<TokenId> drawn;
  for (const auto& [id, share] : Shares(params, logits, 8000)) drawn.push_back(id);
  EXPECT_GT(drawn.size(), kept * 9 / 10);
  EXPECT_TRUE(std::includes(expected.begin(), expected.end(), drawn.begin(), drawn.end()));
}

TEST(SamplerTest, RepetitionPenaltyLowersSeenTokensOnceEach) {
  SamplingParams params;
  params.repetition_penalty = 2;
  EXPECT_EQ(SampleOnce(params, {4, 1.5f}, {0, 0, 0}), 0);  // 4 / 2, not 4 / 8
  EXPECT_EQ(SampleOnce(params, {4, 2.5f}, {0}), 1);        // positive is divided
  EXPECT_EQ(SampleOnce(params, {-1, -1.5f}, {0}), 1);      // negative is multiplied
  EXPECT_EQ(SampleOnce(params, {4, -kInf}, {1, 0}), 0);    // masked stays masked
}

TEST(SamplerTest, PenaltyThatOverflowsStaysFinite) {
  SamplingParams params;
  params.repetition_penalty = std::numeric_limits<float>::min();
  EXPECT_EQ(SampleOnce(params, {1e10f, 5}, {0}), 0);
}

TEST(SamplerTest, SeenTokenOutsideTheVocabularyIsInternalAndNamed) {
  SamplingParams params;
  params.repetition_penalty = 2;
  const absl::Status status = Sampler(params).Sample({1, 2}, {5}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("5"), HasSubstr("2")));
}

TEST(SamplerTest, SameSeedGivesTheSameTokensAndAnotherSeedOthers) {
  const std::vector<float> logits(1000, 0.0f);
  const auto sequence = [&](uint64_t seed) {
    SamplingParams params = Warm();
    params.seed = seed;
    Sampler sampler(params);
    std::vector<TokenId> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(sampler.Sample(logits, ids).value().id);
    return ids;
  };
  EXPECT_EQ(sequence(1), sequence(1));
  EXPECT_NE(sequence(1), sequence(2));
}

TEST(SamplerTest, DrawsAreThoseOfTheGeneratorsTopBits) {
  // The 10000th output of mt19937_64 with its default seed is given by the C++ standard.
  SamplingParams params = Warm();
  params.seed = std::mt19937_64::default_seed;
  Sampler sampler(params);
  const std::vector<float> logits(1000, 0.0f);
  TokenId id = 0;
  for (int i = 0; i < 10000; ++i) id = sampler.Sample(logits, {}).value().id;
  EXPECT_EQ(id, static_cast<TokenId>(9981545732273789042ULL / 0x1p64 * 1000));
}

TEST(SamplerTest, SmallestTemperatureIsGreedy) {
  EXPECT_THAT(Shares(Warm(std::numeric_limits<float>::denorm_min()), {1, 1.0001f, -3e38f}, 100),
              ElementsAre(Key(1)));
}

TEST(ValidateSamplingParamsTest, AcceptsDefaultsAndBorders) {
  SamplingParams params;
  EXPECT_EQ(ValidateSamplingParams(params), absl::OkStatus());
  params.temperature = 100;
  params.top_k = std::numeric_limits<int>::max();
  params.top_p = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(ValidateSamplingParams(params), absl::OkStatus());
}

TEST(ValidateSamplingParamsTest, NamesTheFieldAndItsValue) {
  const auto message = [](auto member, auto value) {
    SamplingParams params;
    params.*member = value;
    const absl::Status status = ValidateSamplingParams(params);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << value;
    return std::string(status.message());
  };
  EXPECT_THAT(message(&SamplingParams::temperature, -0.5f), HasSubstr("temperature is -0.5"));
  EXPECT_THAT(message(&SamplingParams::temperature, kNaN), HasSubstr("temperature is nan"));
  EXPECT_THAT(message(&SamplingParams::temperature, kInf), HasSubstr("temperature is inf"));
  EXPECT_THAT(message(&SamplingParams::top_k, -1), HasSubstr("top_k is -1"));
  EXPECT_THAT(message(&SamplingParams::top_p, 0.0f), HasSubstr("top_p is 0"));
  EXPECT_THAT(message(&SamplingParams::top_p, 1.5f), HasSubstr("top_p is 1.5"));
  EXPECT_THAT(message(&SamplingParams::top_p, kNaN), HasSubstr("top_p is nan"));
  EXPECT_THAT(message(&SamplingParams::repetition_penalty, 0.0f),
              HasSubstr("repetition_penalty is 0"));
  EXPECT_THAT(message(&SamplingParams::repetition_penalty, kInf),
              HasSubstr("repetition_penalty is inf"));
}

}  // namespace
}  // namespace amend
