#include "core/evaluation/scorer.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/generation/decoder.h"
#include "core/generation/testing/random_revisions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ScorerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = LoadCausalLm("models/demo", {}).value();
    base_ = HookStack::Empty(*model_, 0.5);
  }
  static void TearDownTestSuite() {
    base_.reset();
    model_.reset();
  }

  ScoreItem RandomItem(int prompt, int continuation) {
    return {RandomTokens(*model_, prompt, random_), RandomTokens(*model_, continuation, random_)};
  }

  // What the decoder says, one token after the other.
  static ScoredContinuation Decoded(const std::shared_ptr<const HookStack>& hooks,
                                    const ScoreItem& item) {
    Decoder decoder(model_);
    const auto state = decoder.NewSequence(hooks, /*trace_hooks=*/false);
    ScoredContinuation result;
    std::vector<TokenId> next = item.prompt;
    for (const TokenId token : item.continuation) {
      const auto logits = decoder.Step({{{next, state.get()}}}).value();
      const at::Tensor row = at::tensor(at::ArrayRef<float>(logits.row(0).data(), 6144));
      result.logprobs.push_back(at::log_softmax(row, 0)[token].item<float>());
      result.argmax.push_back(static_cast<TokenId>(row.argmax().item<int64_t>()));
      next = {token};
    }
    return result;
  }

  static void ExpectDecoded(const std::shared_ptr<const HookStack>& hooks,
                            const std::vector<ScoreItem>& items) {
    AMEND_ASSERT_OK_AND_ASSIGN(const auto scores, ScoreContinuations(*model_, *hooks, items));
    ASSERT_EQ(scores.size(), items.size());
    for (size_t i = 0; i < items.size(); ++i) {
      const ScoredContinuation expected = Decoded(hooks, items[i]);
      EXPECT_THAT(at::tensor(scores[i].logprobs),
                  TensorRelativelyNear(at::tensor(expected.logprobs), 1e-4))
          << "item " << i;
      EXPECT_EQ(scores[i].argmax, expected.argmax) << "item " << i;
    }
  }

  // Fixed: equal argmax is exact, and two logits may be as good as equal.
  std::mt19937 random_{17};
  static std::shared_ptr<const CausalLm> model_;
  static std::shared_ptr<const HookStack> base_;
};
std::shared_ptr<const CausalLm> ScorerTest::model_;
std::shared_ptr<const HookStack> ScorerTest::base_;

TEST_F(ScorerTest, ScoresAreTheDecodersLogSoftmax) {
  ExpectDecoded(base_, {RandomItem(5, 3), RandomItem(1, 1), RandomItem(12, 7), RandomItem(1, 9)});
}

TEST_F(ScorerTest, ScoresSeeTheHooks) {
  std::vector<std::vector<TokenId>> fires_on;
  const auto edited =
      RandomRevision(*model_, base_, Revision(1), {LayerIndex(2)}, 2, random_, &fires_on);
  const std::vector<ScoreItem> items = {{fires_on[0], {7, 8}}, {fires_on[1], {9}}};
  ExpectDecoded(edited, items);
  EXPECT_THAT(at::tensor((*ScoreContinuations(*model_, *edited, items))[0].logprobs),
              Not(TensorRelativelyNear(
                  at::tensor((*ScoreContinuations(*model_, *base_, items))[0].logprobs), 0.01)));
}

// 40 items of some 80 tokens are several forwards.
TEST_F(ScorerTest, ItemsOfSeveralForwardsComeInTheirOrder) {
  std::vector<ScoreItem> items;
  for (int i = 0; i < 40; ++i) {
    items.push_back(RandomItem(1 + static_cast<int>(random_() % 150), 1 + i % 4));
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const auto together, ScoreContinuations(*model_, *base_, items));
  ASSERT_EQ(together.size(), items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    AMEND_ASSERT_OK_AND_ASSIGN(const auto alone, ScoreContinuations(*model_, *base_, {items[i]}));
    EXPECT_THAT(at::tensor(together[i].logprobs),
                TensorRelativelyNear(at::tensor(alone[0].logprobs), 1e-4))
        << "item " << i;
  }
}

TEST_F(ScorerTest, AForwardThatIsFilledExactlyIsNoBorderCase) {
  // 2048 tokens are 8 items of 256: a ninth begins the next forward.
  std::vector<ScoreItem> items(9, RandomItem(250, 6));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto scores, ScoreContinuations(*model_, *base_, items));
  ASSERT_EQ(scores.size(), 9u);
  EXPECT_THAT(at::tensor(scores[8].logprobs),
              TensorRelativelyNear(at::tensor(scores[0].logprobs), 1e-4));
}

TEST_F(ScorerTest, NoItemsGiveNoScores) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto scores, ScoreContinuations(*model_, *base_, {}));
  EXPECT_THAT(scores, IsEmpty());
}

TEST_F(ScorerTest, AnItemMayFillTheContextButNotPassIt) {
  // The last token of the continuation is never read.
  EXPECT_THAT(ScoreContinuations(*model_, *base_, {RandomItem(250, 7)}), IsOk());
  EXPECT_THAT(ScoreContinuations(*model_, *base_, {RandomItem(2, 1), RandomItem(250, 8)}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("item 1"), HasSubstr("257"), HasSubstr("256"))));
}

// Remembers how many tokens each forward has at one layer.
class CountingHook : public DownProjectionHook {
 public:
  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    if (layer.value() == 0) forwards.push_back(input.size(0));
    return output;
  }
  mutable std::vector<int64_t> forwards;
};

TEST_F(ScorerTest, WholeRowsRunByThemselvesWithTheirLastToken) {
  const CountingHook hook;
  const std::vector<ScoreItem> items = {RandomItem(5, 3), RandomItem(1, 1), RandomItem(12, 7)};
  AMEND_ASSERT_OK_AND_ASSIGN(const auto whole,
                             ScoreContinuations(*model_, hook, items, ForwardRows::kWholeRow));
  EXPECT_THAT(hook.forwards, ElementsAre(8, 2, 19));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto packed, ScoreContinuations(*model_, hook, items));
  EXPECT_THAT(hook.forwards, ElementsAre(8, 2, 19, 7 + 1 + 18));
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_THAT(at::tensor(whole[i].logprobs),
                TensorRelativelyNear(at::tensor(packed[i].logprobs), 1e-4));
    EXPECT_EQ(whole[i].argmax, packed[i].argmax);
  }
}

TEST_F(ScorerTest, AWholeRowMayNotPassTheContext) {
  EXPECT_THAT(ScoreContinuations(*model_, *base_, {RandomItem(250, 6)}, ForwardRows::kWholeRow),
              IsOk());
  EXPECT_THAT(
      ScoreContinuations(*model_, *base_, {RandomItem(250, 7)}, ForwardRows::kWholeRow),
      StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("257"), HasSubstr("256"))));
}

TEST_F(ScorerTest, AnEmptyPartIsRefusedAndTheItemNamed) {
  for (const ScoreItem& item : {ScoreItem{{}, {1}}, ScoreItem{{1}, {}}}) {
    EXPECT_THAT(ScoreContinuations(*model_, *base_, {RandomItem(2, 1), item}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("item 1")));
  }
}

TEST_F(ScorerTest, ATokenOutsideTheVocabularyIsRefused) {
  for (const TokenId id : {-1, 6144}) {
    for (const ScoreItem& item : {ScoreItem{{id}, {1}}, ScoreItem{{1}, {id}}}) {
      EXPECT_THAT(ScoreContinuations(*model_, *base_, {item}),
                  StatusIs(absl::StatusCode::kInvalidArgument,
                           AllOf(HasSubstr("item 0"), HasSubstr(std::to_string(id)))));
    }
  }
}

}  // namespace
}  // namespace amend
