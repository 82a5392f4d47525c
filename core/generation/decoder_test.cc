#include "core/generation/decoder.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <memory>
#include <random>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/generation/testing/random_revisions.h"
#include "core/model/testing/full_forward.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Tokens = std::vector<TokenId>;
using HooksPtr = std::shared_ptr<const HookStack>;

constexpr double kBeta = 0.5;
constexpr double kTolerance = 1e-4;

at::Tensor RowTensor(const StepLogits& logits, int row) {
  const absl::Span<const float> values = logits.row(row);
  return at::tensor(at::ArrayRef<float>(values.data(), values.size()));
}

TokenId Greedy(const at::Tensor& logits) {
  return static_cast<TokenId>(logits.argmax().item<int64_t>());
}

// The best token of `logits` is the best of `full`, or within the tolerance of it.
void ExpectSameGreedy(const at::Tensor& logits, const at::Tensor& full) {
  const double margin = kTolerance * full.abs().max().item<double>();
  EXPECT_GE(full[Greedy(logits)].item<double>(), full.max().item<double>() - margin);
}

class DecoderTest : public testing::TestWithParam<const char*> {
 protected:
  DecoderTest()
      : seed_(std::random_device()()),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_),
        random_(seed_),
        model_(LoadCausalLm(GetParam(), {}).value()),
        decoder_(model_),
        base_(HookStack::Empty(*model_, kBeta)) {}

  int Below(int bound) { return static_cast<int>(random_() % bound); }

  // Revision 1 with some edits, 2 and 3 on two lines behind it. `prompts_` gets what they fire on.
  std::vector<HooksPtr> Revisions() {
    const auto extend = [&](const HooksPtr& parent, int revision, std::vector<LayerIndex> layers) {
      return RandomRevision(*model_, parent, Revision(revision), std::move(layers), 3, random_,
                            &prompts_);
    };
    const HooksPtr first = extend(base_, 1, {LayerIndex(1), LayerIndex(2)});
    return {base_, first, extend(first, 2, {LayerIndex(1), LayerIndex(2)}),
            extend(first, 3, {LayerIndex(1), LayerIndex(2)})};
  }

  // Ends with or holds a prompt that an edit fires on.
  Tokens RandomPrompt() {
    Tokens tokens = prompts_.empty() ? Tokens() : prompts_[Below(prompts_.size())];
    const Tokens tail = RandomTokens(*model_, 1 + Below(30), random_);
    tokens.insert(tokens.end(), tail.begin(), tail.end());
    return tokens;
  }

  // Logits of the last of `tokens`, run in chunks of at most `longest` tokens.
  at::Tensor Chunked(const HooksPtr& hooks, const Tokens& tokens, int longest) {
    const auto state = decoder_.NewSequence(hooks, /*trace_hooks=*/false);
    at::Tensor last;
    for (size_t begin = 0; begin < tokens.size();) {
      const size_t count = std::min<size_t>(1 + Below(longest), tokens.size() - begin);
      auto logits =
          decoder_.Step({{{absl::MakeConstSpan(tokens).subspan(begin, count), state.get()}}});
      EXPECT_THAT(logits, IsOk());
      last = RowTensor(*logits, 0);
      begin += count;
    }
    EXPECT_EQ(state->length(), static_cast<int>(tokens.size()));
    return last;
  }

  at::Tensor Full(const HooksPtr& hooks, const Tokens& tokens) {
    return FullForward(*model_, tokens, hooks.get())[-1];
  }

  const uint32_t seed_;
  const testing::ScopedTrace trace_;
  std::mt19937 random_;
  const std::shared_ptr<const CausalLm> model_;
  Decoder decoder_;
  const HooksPtr base_;
  std::vector<Tokens> prompts_;
};

std::string ModelName(const testing::TestParamInfo<const char*>& info) {
  return std::vector<std::string>{"Gpt2", "Gptj", "Llama", "Qwen2", "GptNeox"}[info.index];
}

constexpr const char* kModels[] = {
    "models/demo", "tests/testdata/random-gptj-tiny", "tests/testdata/architectures/llama",
    "tests/testdata/architectures/qwen2", "tests/testdata/architectures/gpt-neox"};

INSTANTIATE_TEST_SUITE_P(Models, DecoderTest, testing::ValuesIn(kModels), ModelName);

TEST_P(DecoderTest, RandomRevisionsChangeTheLogits) {
  const std::vector<HooksPtr> revisions = Revisions();
  const Tokens& prompt = prompts_[0];
  EXPECT_THAT(Full(revisions[1], prompt), Not(TensorRelativelyNear(Full(base_, prompt), 0.01)));
}

TEST_P(DecoderTest, ChunkedPrefillIsTheFullForward) {
  for (const HooksPtr& hooks : Revisions()) {
    const Tokens tokens = RandomPrompt();
    const at::Tensor full = Full(hooks, tokens);
    EXPECT_THAT(Chunked(hooks, tokens, 1000), TensorRelativelyNear(full, kTolerance));
    EXPECT_THAT(Chunked(hooks, tokens, 8), TensorRelativelyNear(full, kTolerance));
  }
}

TEST_P(DecoderTest, TokenByTokenIsTheFullForward) {
  for (const HooksPtr& hooks : Revisions()) {
    const Tokens tokens = RandomPrompt();
    const at::Tensor logits = Chunked(hooks, tokens, 1);
    EXPECT_THAT(logits, TensorRelativelyNear(Full(hooks, tokens), kTolerance));
    ExpectSameGreedy(logits, Full(hooks, tokens));
  }
}

// Sequences of random revisions come and go in one batch, some still in prefill, some behind what
// an earlier one left in the cache, and some sit steps out; each generates what it generates alone.
TEST_P(DecoderTest, ABatchWithAnyNeighboursIsTheFullForward) {
  const std::vector<HooksPtr> revisions = Revisions();
  const Tokens beginning = RandomTokens(*model_, 40, random_);
  struct Sequence {
    HooksPtr hooks;
    Tokens tokens;
    std::unique_ptr<DecodeState> state;
  };
  std::vector<Sequence> sequences;
  for (int step = 0; step < 25; ++step) {
    if (sequences.size() < 2 || (sequences.size() < 6 && Below(2) == 0)) {
      const HooksPtr hooks = revisions[Below(revisions.size())];
      Tokens tokens = RandomPrompt();
      if (Below(3) > 0) tokens.insert(tokens.begin(), beginning.begin(), beginning.end());
      auto state = decoder_.NewSequence(hooks, {Below(3) == 0, 0, tokens});
      sequences.push_back({hooks, std::move(tokens), std::move(state)});
    }
    std::vector<Decoder::Row> rows;
    std::vector<size_t> who;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const Sequence& s = sequences[i];
      if (Below(5) == 0 && !(rows.empty() && i + 1 == sequences.size())) continue;
      const auto rest = absl::MakeConstSpan(s.tokens).subspan(s.state->length());
      rows.push_back({rest.subspan(0, 1 + Below(30)), s.state.get()});
      who.push_back(i);
    }
    AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits, decoder_.Step(rows));
    for (size_t i = 0; i < who.size(); ++i) {
      Sequence& s = sequences[who[i]];
      const Tokens so_far(s.tokens.begin(), s.tokens.begin() + s.state->length());
      const at::Tensor full = Full(s.hooks, so_far);
      ASSERT_THAT(RowTensor(logits, i), TensorRelativelyNear(full, kTolerance))
          << "step " << step << ", row " << i << " of " << who.size();
      ExpectSameGreedy(RowTensor(logits, i), full);
      if (s.state->length() == static_cast<int>(s.tokens.size())) s.tokens.push_back(Greedy(full));
    }
    if (Below(4) == 0) sequences.erase(sequences.begin() + Below(sequences.size()));
  }
}

// Lines long enough to be screened: sequences of several revisions of a line and of none, in one
// step, each as alone.
TEST_P(DecoderTest, ALongLineServesItsRevisionsSideBySide) {
  std::vector<HooksPtr> line = {base_};
  for (int i = 1; i <= 3; ++i) {
    line.push_back(RandomRevision(*model_, line.back(), Revision(i), {LayerIndex(1), LayerIndex(2)},
                                  30, random_, &prompts_));
  }
  for (int round = 0; round < 5; ++round) {
    std::vector<std::unique_ptr<DecodeState>> states;
    std::vector<Tokens> tokens;
    std::vector<HooksPtr> hooks;
    std::vector<Decoder::Row> rows;
    for (int i = 0; i < 8; ++i) {
      hooks.push_back(line[Below(line.size())]);
      tokens.push_back(prompts_[Below(prompts_.size())]);
      states.push_back(decoder_.NewSequence(hooks.back(), Below(6) == 0));
    }
    for (int i = 0; i < 8; ++i) rows.push_back({tokens[i], states[i].get()});
    AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits, decoder_.Step(rows));
    for (int i = 0; i < 8; ++i) {
      EXPECT_THAT(RowTensor(logits, i), TensorRelativelyNear(Full(hooks[i], tokens[i]), kTolerance))
          << "round " << round << ", row " << i;
    }
  }
}

// Prompts that begin alike, of all revisions in turn: behind what an earlier one left, each step
// gives what it gives without. The cache is small, so that blocks go and come back.
TEST_P(DecoderTest, AWarmPrefixIsTheColdOne) {
  const std::vector<HooksPtr> revisions = Revisions();
  Decoder::Options options;
  options.kv_cache_bytes = 2 * Decoder::ContextBytes(*model_);
  Decoder warm(model_, options);
  Decoder cold(model_, {0, /*share_prefixes=*/false});
  std::vector<Tokens> beginnings;
  for (int i = 0; i < 3; ++i) beginnings.push_back(RandomTokens(*model_, 20 + Below(60), random_));
  int64_t found = 0;
  for (int i = 0; i < 60; ++i) {
    const HooksPtr& hooks = revisions[Below(revisions.size())];
    Tokens tokens = beginnings[Below(beginnings.size())];
    const Tokens tail = RandomPrompt();
    tokens.insert(tokens.end(), tail.begin(), tail.end());
    const auto state = warm.NewSequence(hooks, {false, 0, tokens});
    const auto expected = cold.NewSequence(hooks, {false, 0, tokens});
    ASSERT_EQ(expected->length(), 0);
    ASSERT_LT(state->length(), static_cast<int>(tokens.size()));
    found += state->length();
    for (int step = 0; step < 3; ++step) {
      const auto rest_of = [&](const DecodeState& s) {
        return absl::MakeConstSpan(tokens).subspan(s.length());
      };
      AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits,
                                 warm.Step({{{rest_of(*state), state.get()}}}));
      AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits reference,
                                 cold.Step({{{rest_of(*expected), expected.get()}}}));
      ASSERT_TRUE(RowTensor(logits, 0).equal(RowTensor(reference, 0)))
          << "sequence " << i << ", step " << step;
      tokens.push_back(Greedy(RowTensor(reference, 0)));
    }
  }
  EXPECT_GT(found, 0);
}

TEST_P(DecoderTest, RevisionsShareNothing) {
  const std::vector<HooksPtr> revisions = Revisions();
  const Tokens tokens = RandomTokens(*model_, 50, random_);
  for (const HooksPtr& hooks : revisions) {
    const auto first = decoder_.NewSequence(hooks, {false, 0, tokens});
    EXPECT_EQ(first->length(), 0);
    ASSERT_THAT(decoder_.Step({{{tokens, first.get()}}}), IsOk());
    EXPECT_GT(decoder_.NewSequence(hooks, {false, 0, tokens})->length(), 0);
  }
}

TEST_P(DecoderTest, TheLastTokenOfAPromptIsNeverFound) {
  const Tokens tokens = RandomTokens(*model_, 48, random_);
  ASSERT_THAT(decoder_.Step({{{tokens, decoder_.NewSequence(base_, false).get()}}}), IsOk());
  EXPECT_EQ(decoder_.NewSequence(base_, {false, 0, tokens})->length(), 32);
}

TEST_P(DecoderTest, ATracedSequenceSeesAllOfItsPromptAgain) {
  const std::vector<HooksPtr> revisions = Revisions();
  Tokens tokens = prompts_[0];
  const Tokens tail = RandomTokens(*model_, 40, random_);
  tokens.insert(tokens.end(), tail.begin(), tail.end());
  ASSERT_THAT(decoder_.Step({{{tokens, decoder_.NewSequence(revisions[1], false).get()}}}), IsOk());
  const auto traced = decoder_.NewSequence(revisions[1], {true, 0, tokens});
  EXPECT_EQ(traced->length(), 0);
  ASSERT_THAT(decoder_.Step({{{tokens, traced.get()}}}), IsOk());
  EXPECT_THAT(traced->TakeFirings(), Not(IsEmpty()));
}

TEST_P(DecoderTest, ASequenceWithoutRoomInTheCacheIsNullUntilThereIsRoom) {
  Decoder small(model_, {Decoder::ContextBytes(*model_), true});
  auto first = small.NewSequence(base_, {false, 100, {}});
  EXPECT_GE(small.cache_use().claimed, 100);
  EXPECT_EQ(small.NewSequence(base_, false), nullptr);
  first.reset();
  EXPECT_EQ(small.cache_use().claimed, 0);
  EXPECT_NE(small.NewSequence(base_, false), nullptr);
}

TEST_P(DecoderTest, ARowPastWhatItHasRoomForIsRefusedWithBothNumbers) {
  const auto state = decoder_.NewSequence(base_, {false, 20, {}});
  const Tokens tokens = RandomTokens(*model_, 21, random_);
  EXPECT_THAT(decoder_.Step({{{tokens, state.get()}}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("21 more"), HasSubstr("20 that it has room for"))));
  EXPECT_EQ(state->length(), 0);
}

TEST_P(DecoderTest, ASequenceGrowsByExtendWhileThereIsRoom) {
  Decoder small(model_, {3 * Decoder::BlockBytes(model_->config(), Dtype::kFloat32), true});
  const Tokens tokens = RandomTokens(*model_, 33, random_);
  const auto all = absl::MakeConstSpan(tokens);
  const auto first = small.NewSequence(base_, {false, 40, {}, 16});
  auto second = small.NewSequence(base_, {false, 16, {}});
  ASSERT_THAT(small.Step({{{all.subspan(0, 16), first.get()}}}), IsOk());
  EXPECT_THAT(small.Step({{{all.subspan(16, 1), first.get()}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("16 that it has room for")));
  EXPECT_TRUE(first->Extend(17));
  ASSERT_THAT(small.Step({{{all.subspan(16, 16), first.get()}}}), IsOk());
  EXPECT_FALSE(first->Extend(33));
  EXPECT_EQ(first->length(), 32);
  second.reset();
  EXPECT_TRUE(first->Extend(33));
  AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits,
                             small.Step({{{all.subspan(32), first.get()}}}));
  EXPECT_THAT(RowTensor(logits, 0), TensorRelativelyNear(Full(base_, tokens), kTolerance));
}

// Sequences of random revisions grow in a cache that is too small for all of them: those begun last
// give up their room and are fed again from their beginning, in chunks. Each step gives the bits
// that it gives without.
TEST_P(DecoderTest, ASequenceThatGaveUpItsRoomGoesOnWhereItWas) {
  constexpr int kSequences = 5;
  constexpr size_t kNewTokens = 45;
  const std::vector<HooksPtr> revisions = Revisions();
  Decoder small(model_, {9 * Decoder::BlockBytes(model_->config(), Dtype::kFloat32), true});
  Decoder large(model_, {0, /*share_prefixes=*/false});
  struct Sequence {
    HooksPtr hooks;
    Tokens tokens;
    size_t end = 0;
    std::unique_ptr<DecodeState> state;
  };
  std::vector<Sequence> sequences;
  for (int i = 0; i < kSequences; ++i) {
    Tokens tokens = RandomPrompt();
    tokens.resize(std::min<size_t>(tokens.size(), 20));
    const size_t end = tokens.size() + kNewTokens;
    sequences.push_back({revisions[Below(revisions.size())], std::move(tokens), end, nullptr});
  }
  int preemptions = 0;
  while (!sequences.empty()) {
    // As many as there is room for, in order.
    for (Sequence& s : sequences) {
      const auto length = static_cast<int64_t>(s.tokens.size());
      if (s.state == nullptr) {
        s.state =
            small.NewSequence(s.hooks, {false, static_cast<int64_t>(s.end), s.tokens, length});
      }
      for (size_t last = sequences.size() - 1; s.state != nullptr && !s.state->Extend(length);) {
        while (sequences[last].state == nullptr) --last;
        sequences[last].state = nullptr;
        ++preemptions;
      }
      if (s.state == nullptr) break;
    }
    std::vector<Decoder::Row> rows;
    for (const Sequence& s : sequences) {
      if (s.state == nullptr) break;
      const auto rest = absl::MakeConstSpan(s.tokens).subspan(s.state->length());
      rows.push_back({rest.subspan(0, 1 + Below(30)), s.state.get()});
    }
    AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits, small.Step(rows));
    for (size_t i = 0; i < rows.size(); ++i) {
      Sequence& s = sequences[i];
      if (s.state->length() < static_cast<int>(s.tokens.size())) continue;
      const auto expected = large.NewSequence(s.hooks, {false, 0, s.tokens});
      AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits alone,
                                 large.Step({{{s.tokens, expected.get()}}}));
      ASSERT_TRUE(RowTensor(logits, i).equal(RowTensor(alone, 0)))
          << s.tokens.size() << " tokens, after " << preemptions << " preemptions";
      s.tokens.push_back(Greedy(RowTensor(alone, 0)));
    }
    const auto ended = [](const Sequence& s) { return s.tokens.size() > s.end; };
    sequences.erase(std::remove_if(sequences.begin(), sequences.end(), ended), sequences.end());
  }
  EXPECT_GT(preemptions, 0);
}

TEST_P(DecoderTest, AFiringNamesPositionLayerAndEdit) {
  const std::vector<HooksPtr> revisions = Revisions();
  // Edit 2/1 was made of the last token of this prompt; the first edited layer sees it unchanged.
  const Tokens prompt = prompts_[4];
  const auto other = decoder_.NewSequence(revisions[1], false);
  const auto traced = decoder_.NewSequence(revisions[2], true);
  const Tokens neighbour = RandomTokens(*model_, 5, random_);
  std::vector<HookFiring> firings;
  for (size_t begin = 0; begin < prompt.size(); begin += 3) {
    const auto chunk = absl::MakeConstSpan(prompt).subspan(begin, 3);
    ASSERT_THAT(decoder_.Step({{{neighbour, other.get()}, {chunk, traced.get()}}}), IsOk());
    for (const HookFiring& firing : traced->TakeFirings()) {
      EXPECT_GE(firing.packed_row, static_cast<int64_t>(begin));
      firings.push_back(firing);
    }
  }
  const auto is_the_edit = [&](const HookFiring& firing) {
    return firing.packed_row == static_cast<int64_t>(prompt.size()) - 1 &&
           firing.layer == LayerIndex(1) && firing.edit == EditId{Revision(2), 1};
  };
  const auto found = std::find_if(firings.begin(), firings.end(), is_the_edit);
  ASSERT_NE(found, firings.end());
  EXPECT_NEAR(found->relative_activation, 1, 1e-3);
  EXPECT_THAT(other->TakeFirings(), IsEmpty());
}

TEST_P(DecoderTest, AStepSaysAtHowManyTokensAnEditFired) {
  const std::vector<HooksPtr> revisions = Revisions();
  int64_t all_fired = 0;
  for (int i = 0; i < 5; ++i) {
    const Tokens one = RandomPrompt();
    const Tokens two = RandomPrompt();
    const auto traced_one = decoder_.NewSequence(revisions[2], true);
    const auto traced_two = decoder_.NewSequence(revisions[3], true);
    ASSERT_THAT(decoder_.Step({{{one, traced_one.get()}, {two, traced_two.get()}}}), IsOk());
    std::set<std::pair<int, int64_t>> fired;
    for (const HookFiring& f : traced_one->TakeFirings()) fired.emplace(1, f.packed_row);
    for (const HookFiring& f : traced_two->TakeFirings()) fired.emplace(2, f.packed_row);
    const auto base = decoder_.NewSequence(base_, false);
    const auto state_one = decoder_.NewSequence(revisions[2], false);
    const auto state_two = decoder_.NewSequence(revisions[3], false);
    AMEND_ASSERT_OK_AND_ASSIGN(
        const StepLogits logits,
        decoder_.Step({{{one, state_one.get()}, {one, base.get()}, {two, state_two.get()}}}));
    EXPECT_EQ(logits.hook_use().tokens, static_cast<int64_t>(2 * one.size() + two.size()));
    EXPECT_EQ(logits.hook_use().fired, static_cast<int64_t>(fired.size()));
    all_fired += logits.hook_use().fired;
  }
  EXPECT_GT(all_fired, 0);
}

TEST_P(DecoderTest, FiringsAreTakenOnce) {
  const std::vector<HooksPtr> revisions = Revisions();
  const auto state = decoder_.NewSequence(revisions[1], true);
  ASSERT_THAT(decoder_.Step({{{prompts_[0], state.get()}}}), IsOk());
  EXPECT_THAT(state->TakeFirings(), Not(IsEmpty()));
  EXPECT_THAT(state->TakeFirings(), IsEmpty());
}

TEST_P(DecoderTest, TracingDoesNotChangeTheLogits) {
  const std::vector<HooksPtr> revisions = Revisions();
  const auto traced = decoder_.NewSequence(revisions[2], true);
  AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits,
                             decoder_.Step({{{prompts_[3], traced.get()}}}));
  EXPECT_THAT(RowTensor(logits, 0), TensorNear(Chunked(revisions[2], prompts_[3], 1), 1e-3));
  EXPECT_THAT(RowTensor(logits, 0),
              TensorRelativelyNear(Full(revisions[2], prompts_[3]), kTolerance));
}

TEST_P(DecoderTest, ASequenceHoldsItsHooksToTheEnd) {
  std::vector<HooksPtr> revisions = Revisions();
  const Tokens prompt = prompts_[0];
  const at::Tensor expected = Full(revisions[1], prompt);
  const auto state = decoder_.NewSequence(revisions[1], false);
  revisions.clear();
  AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits, decoder_.Step({{{prompt, state.get()}}}));
  EXPECT_THAT(RowTensor(logits, 0), TensorRelativelyNear(expected, kTolerance));
}

TEST_P(DecoderTest, TheWholeContextMayBeFilled) {
  const Tokens tokens = RandomTokens(*model_, model_->config().context_length, random_);
  EXPECT_THAT(Chunked(base_, tokens, 200), TensorRelativelyNear(Full(base_, tokens), kTolerance));
}

// Both a row that is fine and one that is not are in the step; afterwards both go on as if it had
// not been.
TEST_P(DecoderTest, ARowPastTheContextNamesBothLengthsAndChangesNothing) {
  const int context = model_->config().context_length;
  const Tokens tokens = RandomTokens(*model_, context, random_);
  const auto all = absl::MakeConstSpan(tokens);
  const auto full = decoder_.NewSequence(base_, false);
  const auto fine = decoder_.NewSequence(base_, false);
  ASSERT_THAT(
      decoder_.Step({{{all.subspan(0, context - 2), full.get()}, {all.subspan(0, 4), fine.get()}}}),
      IsOk());
  EXPECT_THAT(decoder_.Step({{{all.subspan(4, 5), fine.get()}, {all.subspan(0, 3), full.get()}}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(std::to_string(context - 2)), HasSubstr("3 more"),
                             HasSubstr(std::to_string(context)))));
  EXPECT_EQ(full->length(), context - 2);
  EXPECT_EQ(fine->length(), 4);
  AMEND_ASSERT_OK_AND_ASSIGN(
      const StepLogits logits,
      decoder_.Step({{{all.subspan(context - 2), full.get()}, {all.subspan(4, 1), fine.get()}}}));
  EXPECT_THAT(RowTensor(logits, 0), TensorRelativelyNear(Full(base_, tokens), kTolerance));
  EXPECT_THAT(
      RowTensor(logits, 1),
      TensorRelativelyNear(Full(base_, Tokens(tokens.begin(), tokens.begin() + 5)), kTolerance));
}

TEST_P(DecoderTest, ATokenOutsideTheVocabularyIsRefusedAndNothingRuns) {
  const auto state = decoder_.NewSequence(base_, false);
  for (const TokenId id : {-1, model_->config().vocabulary_size}) {
    EXPECT_THAT(decoder_.Step({{{{1, id}, state.get()}}}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(std::to_string(id)), HasSubstr("vocabulary"))));
    EXPECT_EQ(state->length(), 0);
  }
}

TEST_P(DecoderTest, AStepWithoutRowsAndARowWithoutTokensAreRefused) {
  EXPECT_THAT(decoder_.Step({}), StatusIs(absl::StatusCode::kInvalidArgument));
  const auto state = decoder_.NewSequence(base_, false);
  EXPECT_THAT(decoder_.Step({{{{}, state.get()}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no tokens")));
}

// Whatever else a step holds.
class ExactDecoderTest : public testing::TestWithParam<std::tuple<const char*, Dtype>> {
 protected:
  ExactDecoderTest()
      : seed_(std::random_device()()),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_),
        random_(seed_),
        threads_(ComputeThreads()) {
    LoadOptions options;
    options.dtype = std::get<1>(GetParam());
    model_ = LoadCausalLm(std::get<0>(GetParam()), options).value();
  }
  ~ExactDecoderTest() override { SetComputeThreads(threads_); }

  int Below(int bound) { return static_cast<int>(random_() % bound); }

  const uint32_t seed_;
  const testing::ScopedTrace trace_;
  std::mt19937 random_;
  const int threads_;
  std::shared_ptr<const CausalLm> model_;
};

INSTANTIATE_TEST_SUITE_P(Models, ExactDecoderTest,
                         testing::Combine(testing::ValuesIn(kModels),
                                          testing::Values(Dtype::kFloat32, Dtype::kBFloat16)),
                         [](const auto& info) {
                           return ModelName({std::get<0>(info.param), info.index / 2}) +
                                  (std::get<1>(info.param) == Dtype::kFloat32 ? "Float32"
                                                                              : "BFloat16");
                         });

// Sequences of several revisions of a line, of a branch and of none, of up to 120 tokens, each fed
// in pieces of any length beside any others, some behind what an earlier one left in the cache,
// traced or not, on one thread or two: the logits behind every token are those of the sequence
// alone, fed token by token.
TEST_P(ExactDecoderTest, ATokensLogitsAreTheSameBitForBitInAnyArrangement) {
  std::vector<Tokens> prompts;
  const HooksPtr base = HookStack::Empty(*model_, kBeta);
  std::vector<HooksPtr> revisions = {base};
  // More than are looked at one by one, and fewer.
  for (const int edits : {3, 70, 5}) {
    revisions.push_back(RandomRevision(*model_, revisions.back(),
                                       Revision(static_cast<int64_t>(revisions.size())),
                                       {LayerIndex(1), LayerIndex(2)}, edits, random_, &prompts));
  }
  revisions.push_back(RandomRevision(*model_, revisions[1], Revision(9),
                                     {LayerIndex(1), LayerIndex(2)}, 4, random_, &prompts));
  struct Sequence {
    HooksPtr hooks;
    Tokens tokens;
    std::vector<at::Tensor> alone;
    std::unique_ptr<DecodeState> state;
  };
  Decoder alone(model_, {0, /*share_prefixes=*/false});
  Decoder together(model_);
  const Tokens beginning = RandomTokens(*model_, 40, random_);
  std::vector<Sequence> sequences(7);
  int64_t found = 0;
  for (Sequence& s : sequences) {
    s.hooks = revisions[Below(revisions.size())];
    if (Below(2) == 0) s.tokens = beginning;
    for (const Tokens& more :
         {prompts[Below(prompts.size())], RandomTokens(*model_, 1 + Below(60), random_)}) {
      s.tokens.insert(s.tokens.end(), more.begin(), more.end());
    }
    SetComputeThreads(1);
    const auto state = alone.NewSequence(s.hooks, /*trace_hooks=*/false);
    for (const TokenId& token : s.tokens) {
      AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits,
                                 alone.Step({{{absl::MakeConstSpan(&token, 1), state.get()}}}));
      s.alone.push_back(RowTensor(logits, 0));
    }
  }
  for (int step = 0; step < 30; ++step) {
    SetComputeThreads(step % 4 == 0 ? 2 : 1);
    std::vector<Decoder::Row> rows;
    std::vector<const Sequence*> who;
    for (Sequence& s : sequences) {
      if (Below(4) == 0) continue;
      if (s.state == nullptr || s.state->length() == static_cast<int>(s.tokens.size())) {
        s.state = together.NewSequence(s.hooks, {Below(5) == 0, 0, s.tokens});
        found += s.state->length();
      }
      const auto rest = absl::MakeConstSpan(s.tokens).subspan(s.state->length());
      rows.push_back({rest.subspan(0, 1 + Below(Below(2) == 0 ? 4 : 90)), s.state.get()});
      who.push_back(&s);
    }
    if (rows.empty()) continue;
    AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits, together.Step(rows));
    for (size_t i = 0; i < who.size(); ++i) {
      ASSERT_TRUE(
          RowTensor(logits, static_cast<int>(i)).equal(who[i]->alone[who[i]->state->length() - 1]))
          << "step " << step << ", row " << i << " of " << who.size() << ", behind token "
          << who[i]->state->length() << " of " << who[i]->tokens.size();
    }
  }
  EXPECT_GT(found, 0);
}

TEST(DecoderBlockTest, ABlockHasKeysAndValuesOfItsTokensInAllLayers) {
  ModelConfig config;
  config.layers = 3;
  config.hidden_size = 8;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 4;
  EXPECT_EQ(Decoder::BlockBytes(config, Dtype::kFloat32), 2 * 3 * 8 * 16 * 4);
  EXPECT_EQ(Decoder::BlockBytes(config, Dtype::kBFloat16), 2 * 3 * 8 * 16 * 2);
}

TEST(DecoderBlockTest, ABlockHasHiddenStatesTooWhereLayersLieBelowTheFirstEditedOne) {
  ModelConfig config;
  config.layers = 3;
  config.hidden_size = 16;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 4;
  EXPECT_EQ(Decoder::BlockBytes(config, Dtype::kFloat32, LayerIndex(2)), (2 * 3 * 8 + 16) * 16 * 4);
  EXPECT_EQ(Decoder::BlockBytes(config, Dtype::kFloat32, LayerIndex(0)), 2 * 3 * 8 * 16 * 4);
}

}  // namespace
}  // namespace amend
