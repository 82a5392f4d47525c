#include "server/model_decode_backend.h"

#include <algorithm>

#include "core/base/testing/status_matchers.h"
#include "core/tokenizer/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr char kModel[] = "models/demo";

class ModelDecodeBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(model_, LoadCausalLm(kModel, LoadOptions()));
    AMEND_ASSERT_OK_AND_ASSIGN(tokenizer_, Tokenizer::FromDirectory(kModel));
    snapshot_ = std::make_shared<const Snapshot>(
        Snapshot{kBaseRevision, HookStack::Empty(*model_, /*beta=*/0.5)});
    backend_ = std::make_unique<ModelDecodeBackend>(model_);
  }

  static TokenId ArgMax(absl::Span<const float> logits) {
    return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }

  std::shared_ptr<const CausalLm> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::unique_ptr<ModelDecodeBackend> backend_;
};

TEST_F(ModelDecodeBackendTest, AStepYieldsWhatScoringPredicts) {
  const std::vector<TokenId> prompt = tokenizer_->Encode("Kuala Lumpur is a city in");
  const auto sequence = backend_->NewSequence(snapshot_, {});
  AMEND_ASSERT_OK_AND_ASSIGN(const auto logits, backend_->Step({{prompt, sequence.get()}}));
  const TokenId next = ArgMax(logits->row(0));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto scores, backend_->Score(*snapshot_, {{prompt, {next}}}));
  ASSERT_EQ(scores.size(), 1u);
  EXPECT_THAT(scores[0].argmax, ::testing::ElementsAre(next));
}

TEST_F(ModelDecodeBackendTest, APromptInPiecesGivesTheSameNextToken) {
  const std::vector<TokenId> prompt = tokenizer_->Encode("Kuala Lumpur is a city in");
  const auto whole = backend_->NewSequence(snapshot_, {});
  const auto pieces = backend_->NewSequence(snapshot_, {});
  const auto span = absl::MakeConstSpan(prompt);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto at_once, backend_->Step({{span, whole.get()}}));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto first,
                             backend_->Step({{span.subspan(0, 3), pieces.get()}}));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto rest, backend_->Step({{span.subspan(3), pieces.get()}}));
  EXPECT_EQ(ArgMax(at_once->row(0)), ArgMax(rest->row(0)));
}

TEST_F(ModelDecodeBackendTest, ASecondSequenceBeginsBehindWhatTheFirstOneLeft) {
  std::vector<TokenId> prompt;
  while (prompt.size() < 40) {
    for (const TokenId id : tokenizer_->Encode("Kuala Lumpur is a city in ")) prompt.push_back(id);
  }
  const auto size = static_cast<int64_t>(prompt.size());
  const auto first = backend_->NewSequence(snapshot_, {false, size, prompt});
  EXPECT_EQ(first->length(), 0);
  EXPECT_GE(backend_->cache_use().claimed, size);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto cold, backend_->Step({{prompt, first.get()}}));
  const auto second = backend_->NewSequence(snapshot_, {false, size, prompt});
  ASSERT_GT(second->length(), 0);
  const auto rest = absl::MakeConstSpan(prompt).subspan(second->length());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto warm, backend_->Step({{rest, second.get()}}));
  EXPECT_EQ(ArgMax(cold->row(0)), ArgMax(warm->row(0)));
}

TEST_F(ModelDecodeBackendTest, TheDefaultCacheHoldsAContextAtLeast) {
  for (const LayerIndex first : {LayerIndex(0), LayerIndex(3)}) {
    EXPECT_GE(ModelDecodeBackend::DefaultCacheBytes(*model_, first),
              Decoder::ContextBytes(*model_, first));
  }
  EXPECT_LE(ModelDecodeBackend::DefaultCacheBytes(*model_, LayerIndex(0)), int64_t{1} << 30);
  EXPECT_GE(backend_->cache_capacity(), model_->config().context_length);
}

}  // namespace
}  // namespace amend
