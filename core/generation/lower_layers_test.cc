// What revisions share of the layers below the first edited one: a prefix that another revision
// computed is what a cold one is, and these layers do not run it again.
#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/generation/decoder.h"
#include "core/generation/testing/counting_lm.h"
#include "core/generation/testing/random_revisions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::ElementsAreArray;
using ::testing::Not;

using Tokens = std::vector<TokenId>;
using HooksPtr = std::shared_ptr<const HookStack>;

// Tokens of a block.
constexpr int kB = 16;

at::Tensor RowTensor(const StepLogits& logits, int row) {
  const absl::Span<const float> values = logits.row(row);
  return at::tensor(at::ArrayRef<float>(values.data(), values.size()));
}

struct Case {
  const char* name;
  const char* model;
  // The first edited layer.
  int first;
  Dtype dtype;
};

constexpr char kGpt2[] = "models/demo";
constexpr char kGptj[] = "tests/testdata/random-gptj-tiny";

class LowerLayersTest : public testing::TestWithParam<Case> {
 protected:
  LowerLayersTest()
      : seed_(std::random_device()()),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_),
        random_(seed_),
        model_(std::make_shared<CountingLm>(
            LoadCausalLm(GetParam().model, {GetParam().dtype, Device::kCpu}).value())),
        first_(GetParam().first),
        cold_(model_, {0, /*share_prefixes=*/false, LayerIndex(0)}),
        base_(HookStack::Empty(*model_, 0.5)) {
    // Two lines behind the unedited model. `prompts_` gets what their edits fire on.
    revisions_ = {base_, Edited(base_, 1, first_), Edited(base_, 2, first_)};
    revisions_.push_back(Edited(revisions_[1], 3, first_));
  }

  int Below(int64_t bound) { return static_cast<int>(random_() % bound); }

  HooksPtr Edited(const HooksPtr& parent, int revision, LayerIndex first) {
    std::vector<LayerIndex> layers = {first};
    if (first.Next().value() < model_->config().layers) layers.push_back(first.Next());
    return RandomRevision(*model_, parent, Revision(revision), layers, 3, random_, &prompts_);
  }

  Decoder::Options Options(int64_t blocks = 0, bool share_prefixes = true) const {
    Decoder::Options options;
    options.first_edited_layer = first_;
    options.kv_cache_bytes =
        blocks * Decoder::BlockBytes(model_->config(), GetParam().dtype, first_);
    options.share_prefixes = share_prefixes;
    return options;
  }

  // `count` tokens, some of which an edit fires on.
  Tokens Prompt(int count) {
    Tokens tokens;
    while (static_cast<int>(tokens.size()) < count) {
      const Tokens more =
          Below(2) == 0 ? prompts_[Below(prompts_.size())] : RandomTokens(*model_, 5, random_);
      tokens.insert(tokens.end(), more.begin(), more.end());
    }
    tokens.resize(count);
    return tokens;
  }

  // Sizes that add up to `count`.
  std::vector<int> Chunks(int count, int longest) {
    std::vector<int> chunks;
    for (; count > 0; count -= chunks.back()) {
      chunks.push_back(std::min(count, 1 + Below(longest)));
    }
    return chunks;
  }

  // Logits behind each chunk of `tokens`, from where the sequence begins.
  std::vector<at::Tensor> Feed(Decoder& decoder, DecodeState* state, const Tokens& tokens,
                               const std::vector<int>& chunks) {
    std::vector<at::Tensor> logits;
    for (const int chunk : chunks) {
      const auto next = absl::MakeConstSpan(tokens).subspan(state->length(), chunk);
      const auto step = decoder.Step({{{next, state}}});
      EXPECT_THAT(step, IsOk());
      logits.push_back(RowTensor(*step, 0));
    }
    return logits;
  }
  std::vector<at::Tensor> Run(Decoder& decoder, const HooksPtr& hooks, const Tokens& tokens,
                              const std::vector<int>& chunks) {
    const auto state = decoder.NewSequence(hooks, {false, 0, tokens});
    return Feed(decoder, state.get(), tokens, chunks);
  }
  // Leaves the prompt in the cache.
  void Leave(Decoder& decoder, const HooksPtr& hooks, const Tokens& tokens) {
    const auto state =
        decoder.NewSequence(hooks, {false, static_cast<int64_t>(tokens.size()), tokens});
    ASSERT_THAT(
        decoder.Step({{{absl::MakeConstSpan(tokens).subspan(state->length()), state.get()}}}),
        IsOk());
  }
  int LowerLength(Decoder& decoder, const HooksPtr& hooks, const Tokens& tokens) {
    return decoder.NewSequence(hooks, {false, 0, tokens})->lower_length();
  }

  // Logits of the last of `tokens`, of a sequence that shares nothing with anybody.
  at::Tensor Alone(const HooksPtr& hooks, const Tokens& tokens) {
    return Run(cold_, hooks, tokens, {static_cast<int>(tokens.size())})[0];
  }

  const uint32_t seed_;
  const testing::ScopedTrace trace_;
  std::mt19937 random_;
  const std::shared_ptr<const CountingLm> model_;
  const LayerIndex first_;
  // Shares nothing and has one kind of block.
  Decoder cold_;
  const HooksPtr base_;
  std::vector<HooksPtr> revisions_;
  std::vector<Tokens> prompts_;
};

std::string CaseName(const testing::TestParamInfo<Case>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Models, LowerLayersTest,
                         testing::Values(Case{"Gpt2At1", kGpt2, 1, Dtype::kFloat32},
                                         Case{"Gpt2At3", kGpt2, 3, Dtype::kFloat32},
                                         Case{"Gpt2AtTheLast", kGpt2, 5, Dtype::kFloat32},
                                         Case{"Gpt2At3BFloat16", kGpt2, 3, Dtype::kBFloat16},
                                         Case{"GptjAt1", kGptj, 1, Dtype::kFloat32},
                                         Case{"GptjAtTheLast", kGptj, 3, Dtype::kFloat32},
                                         Case{"GptjAt2BFloat16", kGptj, 2, Dtype::kBFloat16},
                                         Case{"LlamaAt2", "tests/testdata/architectures/llama", 2,
                                              Dtype::kFloat32}),
                         CaseName);

TEST_P(LowerLayersTest, APrefixOfAnotherRevisionIsTheColdOneBitForBit) {
  for (int round = 0; round < 6; ++round) {
    const int count = kB * (1 + Below(8));
    const Tokens tokens = Prompt(count);
    const std::vector<int> chunks = Chunks(count, round % 2 == 0 ? 9 : 100);
    Decoder warm(model_, Options());
    Run(warm, base_, tokens, chunks);
    for (const HooksPtr& hooks : {revisions_[1], revisions_[2]}) {
      model_->Reset();
      const std::vector<at::Tensor> logits = Run(warm, hooks, tokens, chunks);
      EXPECT_EQ(model_->ran(LayerIndex(0)), 0);
      EXPECT_EQ(model_->ran(LayerIndex(first_.value() - 1)), 0);
      EXPECT_EQ(model_->ran(first_), count);
      const std::vector<at::Tensor> expected = Run(cold_, hooks, tokens, chunks);
      ASSERT_EQ(logits.size(), expected.size());
      for (size_t i = 0; i < logits.size(); ++i) EXPECT_TRUE(logits[i].equal(expected[i]));
    }
  }
}

// Five blocks and a bit are there: a chunk begins and ends in the middle of them, the next one
// begins there and goes past them.
TEST_P(LowerLayersTest, AChunkMayBeginInTheMiddleOfWhatIsThere) {
  const Tokens tokens = Prompt(6 * kB);
  Decoder warm(model_, Options());
  Leave(warm, revisions_[1], Tokens(tokens.begin(), tokens.begin() + 5 * kB + 3));
  const std::vector<int> chunks = {2 * kB + 5, 4 * kB - 5};
  const auto state = warm.NewSequence(revisions_[2], {false, 0, tokens});
  EXPECT_EQ(state->length(), 0);
  EXPECT_EQ(state->lower_length(), 5 * kB);
  model_->Reset();
  const std::vector<at::Tensor> logits = Feed(warm, state.get(), tokens, chunks);
  EXPECT_EQ(model_->ran(LayerIndex(0)), kB);
  EXPECT_EQ(model_->ran(first_), 6 * kB);
  EXPECT_EQ(state->length(), 6 * kB);
  EXPECT_EQ(state->lower_length(), 6 * kB);
  const std::vector<at::Tensor> expected = Run(cold_, revisions_[2], tokens, chunks);
  for (size_t i = 0; i < chunks.size(); ++i) EXPECT_TRUE(logits[i].equal(expected[i]));
}

TEST_P(LowerLayersTest, WhatWasGeneratedIsThereForAnotherRevisionToo) {
  Decoder decoder(model_, Options());
  const Tokens tokens = Prompt(4 * kB);
  std::vector<int> chunks(2 * kB + 1, 1);
  chunks[0] = 2 * kB;
  Run(decoder, revisions_[1], tokens, chunks);
  EXPECT_EQ(LowerLength(decoder, revisions_[2], tokens), 4 * kB);
}

TEST_P(LowerLayersTest, RowsThatFindMuchLittleAndNothingShareAStep) {
  Decoder decoder(model_, Options());
  const Tokens known = Prompt(5 * kB);
  Leave(decoder, revisions_[1], known);
  Tokens half = known;
  for (int i = 2 * kB; i < 5 * kB; ++i) half[i] = (half[i] + 1) % model_->config().vocabulary_size;
  const std::vector<std::pair<HooksPtr, Tokens>> rows = {{revisions_[2], half},
                                                         {revisions_[1], known},
                                                         {revisions_[3], Prompt(37)},
                                                         {base_, known},
                                                         {revisions_[3], known}};
  std::vector<std::unique_ptr<DecodeState>> states;
  std::vector<Decoder::Row> step;
  for (const auto& [hooks, tokens] : rows) {
    states.push_back(decoder.NewSequence(hooks, {false, 0, tokens}));
    step.push_back(
        {absl::MakeConstSpan(tokens).subspan(states.back()->length()), states.back().get()});
  }
  model_->Reset();
  AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits, decoder.Step(step));
  EXPECT_EQ(model_->ran(LayerIndex(0)), 3 * kB + 0 + 37 + 0 + 0);
  EXPECT_EQ(model_->ran(first_), 5 * kB + kB + 37 + 5 * kB + 5 * kB);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(RowTensor(logits, static_cast<int>(i)).equal(Alone(rows[i].first, rows[i].second)))
        << "row " << i;
  }
}

// Sequences of all revisions and of one that edits a lower layer too, traced ones among them, come
// and go in batches behind what others left, in chunks, in a cache so small that blocks of both
// kinds go and come back.
TEST_P(LowerLayersTest, AnyMixtureIsTheSameBitForBitAsEachAlone) {
  std::vector<HooksPtr> all = revisions_;
  all.push_back(Edited(base_, 4, LayerIndex(0)));
  Decoder decoder(model_, Options(60));
  std::vector<Tokens> beginnings;
  for (int i = 0; i < 3; ++i) beginnings.push_back(Prompt(20 + Below(60)));
  struct Sequence {
    HooksPtr hooks;
    Tokens tokens;
    std::unique_ptr<DecodeState> state;
  };
  std::vector<Sequence> sequences;
  int64_t found = 0;
  for (int step = 0; step < 60; ++step) {
    if (sequences.size() < 2 || (sequences.size() < 5 && Below(2) == 0)) {
      Sequence s;
      s.hooks = all[Below(all.size())];
      s.tokens = beginnings[Below(beginnings.size())];
      const Tokens tail = Prompt(1 + Below(30));
      s.tokens.insert(s.tokens.end(), tail.begin(), tail.end());
      const auto size = static_cast<int64_t>(s.tokens.size());
      s.state = decoder.NewSequence(s.hooks, {Below(4) == 0, size + 60, s.tokens, size});
      if (s.state != nullptr) {
        found += s.state->lower_length() - s.state->length();
        sequences.push_back(std::move(s));
      }
    }
    std::vector<Decoder::Row> rows;
    std::vector<size_t> who;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const Sequence& s = sequences[i];
      if (Below(5) == 0 && !(rows.empty() && i + 1 == sequences.size())) continue;
      if (!s.state->Extend(static_cast<int64_t>(s.tokens.size()))) continue;
      const auto rest = absl::MakeConstSpan(s.tokens).subspan(s.state->length());
      rows.push_back({rest.subspan(0, 1 + Below(40)), s.state.get()});
      who.push_back(i);
    }
    if (rows.empty()) {
      sequences.pop_back();
      continue;
    }
    AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits, decoder.Step(rows));
    for (size_t i = 0; i < who.size(); ++i) {
      Sequence& s = sequences[who[i]];
      const Tokens so_far(s.tokens.begin(), s.tokens.begin() + s.state->length());
      const at::Tensor alone = Alone(s.hooks, so_far);
      ASSERT_TRUE(RowTensor(logits, static_cast<int>(i)).equal(alone))
          << "step " << step << ", row " << i << " of " << who.size();
      if (s.state->length() == static_cast<int>(s.tokens.size())) {
        s.tokens.push_back(static_cast<TokenId>(alone.argmax().item<int64_t>()));
      }
    }
    if (Below(3) == 0) sequences.erase(sequences.begin() + Below(sequences.size()));
  }
  EXPECT_GT(found, 0);
}

// Traced sequences leave blocks of the lower layers alone: these go out of the cache, and what is
// left of the upper ones cannot be used without them.
TEST_P(LowerLayersTest, UpperBlocksAreNotUsedWhereTheLowerOnesAreGone) {
  Decoder decoder(model_, Options(12));
  const Tokens tokens = Prompt(4 * kB + 1);
  Leave(decoder, revisions_[1], tokens);
  for (int i = 0; i < 3; ++i) {
    const Tokens other = RandomTokens(*model_, 6 * kB, random_);
    const auto traced = decoder.NewSequence(base_, {true, 6 * kB, other});
    ASSERT_THAT(decoder.Step({{{other, traced.get()}}}), IsOk());
  }
  const auto state = decoder.NewSequence(revisions_[1], {false, 5 * kB, tokens});
  EXPECT_EQ(state->lower_length(), 0);
  EXPECT_EQ(state->length(), 0);
  AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits, decoder.Step({{{tokens, state.get()}}}));
  EXPECT_TRUE(RowTensor(logits, 0).equal(Alone(revisions_[1], tokens)));
}

TEST_P(LowerLayersTest, LowerBlocksServeWhereTheUpperOnesAreGone) {
  Decoder decoder(model_, Options(12));
  const Tokens tokens = Prompt(4 * kB + 1);
  for (const int i : {1, 2, 3, 0}) Leave(decoder, revisions_[i], tokens);
  const auto state = decoder.NewSequence(revisions_[1], {false, 5 * kB, tokens});
  EXPECT_EQ(state->lower_length(), 4 * kB);
  EXPECT_EQ(state->length(), 0);
  AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits logits, decoder.Step({{{tokens, state.get()}}}));
  EXPECT_TRUE(RowTensor(logits, 0).equal(Alone(revisions_[1], tokens)));
}

// Two revisions compute the same prompt at once, so that the lower blocks are there twice. When one
// is gone, a sequence of the other shares its upper blocks and not its lower ones.
TEST_P(LowerLayersTest, ASequenceGrowsWhileBothPartsHaveRoom) {
  Decoder decoder(model_, Options(11));
  const Tokens tokens = Prompt(4 * kB + 1);
  const auto prompt = absl::MakeConstSpan(tokens).subspan(0, 4 * kB);
  auto first = decoder.NewSequence(revisions_[1], {false, 4 * kB, prompt});
  auto second = decoder.NewSequence(revisions_[2], {false, 4 * kB, prompt});
  ASSERT_THAT(decoder.Step({{{prompt, first.get()}, {prompt, second.get()}}}), IsOk());
  first.reset();
  const auto small = decoder.NewSequence(base_, {false, kB, {}});
  const auto third = decoder.NewSequence(revisions_[2], {false, 7 * kB, tokens, 4 * kB + 1});
  ASSERT_NE(third, nullptr);
  EXPECT_EQ(third->length(), 4 * kB);
  EXPECT_EQ(decoder.cache_use().claimed, (4 + 4 + 1 + 1) * kB);
  EXPECT_TRUE(third->Extend(6 * kB));
  // The upper part would have room.
  EXPECT_FALSE(third->Extend(7 * kB));
  EXPECT_EQ(decoder.cache_use().claimed, 11 * kB);
  second.reset();
  EXPECT_TRUE(third->Extend(7 * kB));
}

TEST_P(LowerLayersTest, ATracedSequenceTellsTheSameBehindWhatAnotherLeft) {
  Decoder warm(model_, Options());
  // What an edit of revision 1 fires on.
  Tokens tokens = prompts_[0];
  const Tokens tail = Prompt(3 * kB - static_cast<int>(tokens.size()));
  tokens.insert(tokens.end(), tail.begin(), tail.end());
  Leave(warm, revisions_[2], tokens);
  const auto traced = warm.NewSequence(revisions_[1], {true, 0, tokens});
  EXPECT_EQ(traced->length(), 0);
  EXPECT_EQ(traced->lower_length(), 3 * kB);
  const auto expected = cold_.NewSequence(revisions_[1], {true, 0, tokens});
  ASSERT_THAT(warm.Step({{{tokens, traced.get()}}}), IsOk());
  ASSERT_THAT(cold_.Step({{{tokens, expected.get()}}}), IsOk());
  const auto fired = [](DecodeState& state) {
    std::vector<std::array<int64_t, 4>> all;
    for (const HookFiring& f : state.TakeFirings()) {
      all.push_back({f.packed_row, f.layer.value(), f.edit.revision.value(), f.edit.index});
    }
    return all;
  };
  const auto all = fired(*traced);
  EXPECT_FALSE(all.empty());
  EXPECT_THAT(all, ElementsAreArray(fired(*expected)));
}

TEST_P(LowerLayersTest, ARevisionThatEditsALowerLayerSharesItWithNoOther) {
  const HooksPtr lower = Edited(base_, 9, LayerIndex(0));
  // An edit below the first edited layer fires on the beginning.
  const Tokens beginning = prompts_.back();
  const auto count = static_cast<int>(beginning.size());
  Tokens tokens = beginning;
  const Tokens tail = Prompt(4 * kB + 1 - count);
  tokens.insert(tokens.end(), tail.begin(), tail.end());
  Decoder others(model_, Options());
  Leave(others, revisions_[1], tokens);
  EXPECT_EQ(LowerLength(others, lower, tokens), 0);
  Decoder decoder(model_, Options());
  const std::vector<at::Tensor> logits = Run(decoder, lower, tokens, {count, 4 * kB + 1 - count});
  EXPECT_EQ(LowerLength(decoder, revisions_[1], tokens), 0);
  EXPECT_EQ(LowerLength(decoder, base_, tokens), 0);
  // But with those of its own.
  EXPECT_EQ(decoder.NewSequence(lower, {false, 0, tokens})->length(), 4 * kB);
  EXPECT_THAT(logits[0], Not(TensorRelativelyNear(Alone(base_, beginning), 0.01)));
  EXPECT_TRUE(logits[0].equal(Alone(lower, beginning)));
  EXPECT_TRUE(logits[1].equal(Alone(lower, tokens)));
}

TEST_P(LowerLayersTest, ATracedSequenceThatEditsALowerLayerSeesAllOfItsPrompt) {
  const HooksPtr lower = Edited(base_, 9, LayerIndex(0));
  Tokens tokens = prompts_.back();
  const auto at = static_cast<int64_t>(tokens.size()) - 1;
  const Tokens tail = Prompt(3 * kB);
  tokens.insert(tokens.end(), tail.begin(), tail.end());
  Decoder decoder(model_, Options());
  Leave(decoder, lower, tokens);
  const auto traced = decoder.NewSequence(lower, {true, 0, tokens});
  EXPECT_EQ(traced->lower_length(), 0);
  ASSERT_THAT(decoder.Step({{{tokens, traced.get()}}}), IsOk());
  const std::vector<HookFiring> firings = traced->TakeFirings();
  EXPECT_TRUE(std::any_of(firings.begin(), firings.end(), [&](const HookFiring& f) {
    return f.layer == LayerIndex(0) && f.packed_row == at;
  }));
}

TEST_P(LowerLayersTest, WithoutSharingTheLowerLayersRunEverything) {
  Decoder decoder(model_, Options(0, /*share_prefixes=*/false));
  const Tokens tokens = Prompt(3 * kB);
  Leave(decoder, revisions_[1], tokens);
  EXPECT_EQ(LowerLength(decoder, revisions_[2], tokens), 0);
}

TEST(NoLowerLayersTest, RevisionsShareNothingWhereTheFirstLayerIsEdited) {
  std::mt19937 random(1);
  const auto model = std::make_shared<CountingLm>(LoadCausalLm(kGpt2, {}).value());
  Decoder decoder(model);
  std::vector<Tokens> prompts;
  const HooksPtr base = HookStack::Empty(*model, 0.5);
  const HooksPtr edited =
      RandomRevision(*model, base, Revision(1), {LayerIndex(0)}, 1, random, &prompts);
  const Tokens tokens = RandomTokens(*model, 4 * kB + 1, random);
  const auto first = decoder.NewSequence(base, {false, 0, tokens});
  ASSERT_THAT(decoder.Step({{{tokens, first.get()}}}), IsOk());
  const auto other = decoder.NewSequence(edited, {false, 0, tokens});
  EXPECT_EQ(other->lower_length(), 0);
  const auto same = decoder.NewSequence(base, {false, 0, tokens});
  EXPECT_EQ(same->length(), 4 * kB);
  EXPECT_EQ(same->lower_length(), 4 * kB);
}

}  // namespace
}  // namespace amend
