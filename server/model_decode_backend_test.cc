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
  const auto sequence = backend_->NewSequence(snapshot_, /*trace_hooks=*/false);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto logits, backend_->Step({{prompt, sequence.get()}}));
  const TokenId next = ArgMax(logits->row(0));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto scores, backend_->Score(*snapshot_, {{prompt, {next}}}));
  ASSERT_EQ(scores.size(), 1u);
  EXPECT_THAT(scores[0].argmax, ::testing::ElementsAre(next));
}

TEST_F(ModelDecodeBackendTest, APromptInPiecesGivesTheSameNextToken) {
  const std::vector<TokenId> prompt = tokenizer_->Encode("Kuala Lumpur is a city in");
  const auto whole = backend_->NewSequence(snapshot_, false);
  const auto pieces = backend_->NewSequence(snapshot_, false);
  const auto span = absl::MakeConstSpan(prompt);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto at_once, backend_->Step({{span, whole.get()}}));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto first,
                             backend_->Step({{span.subspan(0, 3), pieces.get()}}));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto rest, backend_->Step({{span.subspan(3), pieces.get()}}));
  EXPECT_EQ(ArgMax(at_once->row(0)), ArgMax(rest->row(0)));
}

}  // namespace
}  // namespace amend
