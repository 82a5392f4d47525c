#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/generation/decoder.h"
#include "core/generation/testing/random_revisions.h"
#include "core/generation/testing/replaying_recorder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using Tokens = std::vector<TokenId>;
using HooksPtr = std::shared_ptr<const HookStack>;

constexpr double kBeta = 0.5;
constexpr int kMaxRows = 64;

// With room for more whole contexts than graphs have rows.
Decoder::Options OptionsOf(const CausalLm& model, LayerIndex first_edited_layer,
                           std::shared_ptr<GraphRecorder> recorder) {
  Decoder::Options options;
  options.first_edited_layer = first_edited_layer;
  options.kv_cache_bytes =
      (kMaxRows + 2) * Decoder::ContextBytes(model, options.first_edited_layer);
  options.graph_recorder = std::move(recorder);
  return options;
}

bool SameBits(absl::Span<const float> a, absl::Span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

using Firing = std::tuple<int64_t, LayerIndex, EditId, float>;

std::vector<Firing> TakeFirings(DecodeState* state) {
  std::vector<Firing> firings;
  for (const HookFiring& firing : state->TakeFirings()) {
    firings.emplace_back(firing.packed_row, firing.layer, firing.edit, firing.relative_activation);
  }
  return firings;
}

// Of a model, and the lowest layer that revisions are said to edit.
using Param = std::tuple<const char*, Dtype, int>;

// Two decoders of one model, with graphs and without, that are fed the same.
class DecoderGraphsTest : public testing::TestWithParam<Param> {
 protected:
  DecoderGraphsTest()
      : seed_(std::random_device()()),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_),
        random_(seed_),
        model_(LoadCausalLm(std::get<0>(GetParam()), {std::get<1>(GetParam())}).value()),
        first_edited_layer_(std::get<2>(GetParam())),
        recorder_(std::make_shared<ReplayingRecorder>()),
        plain_(model_, OptionsOf(*model_, first_edited_layer_, nullptr)),
        graphs_(model_, OptionsOf(*model_, first_edited_layer_, recorder_)),
        revisions_{HookStack::Empty(*model_, kBeta)} {
    Extend(0, {LayerIndex(1), LayerIndex(2)});
    Extend(1, {LayerIndex(1), LayerIndex(2)});
    Extend(0, {LayerIndex(0), LayerIndex(model_->config().layers - 1)});
  }

  struct Sequence {
    std::unique_ptr<DecodeState> plain, graphs;
    Tokens tokens;
  };

  int Below(int bound) { return static_cast<int>(random_() % bound); }

  void Extend(int parent, const std::vector<LayerIndex>& layers) {
    const Revision revision(static_cast<int64_t>(revisions_.size()));
    revisions_.push_back(
        RandomRevision(*model_, revisions_[parent], revision, layers, 3, random_, &prompts_));
  }

  Sequence NewSequence(const HooksPtr& hooks, bool traced, Tokens tokens) {
    return {plain_.NewSequence(hooks, {traced, 0, tokens, 0}),
            graphs_.NewSequence(hooks, {traced, 0, tokens, 0}), std::move(tokens)};
  }
  // Its last token is one that an edit fires on, though maybe not one of its own.
  Sequence NewSequence(const HooksPtr& hooks, bool traced) {
    Tokens tokens = RandomTokens(*model_, 1 + Below(5), random_);
    const Tokens& fires = prompts_[Below(prompts_.size())];
    tokens.insert(tokens.end(), fires.begin(), fires.end());
    return NewSequence(hooks, traced, std::move(tokens));
  }
  Sequence AnySequence() {
    return NewSequence(revisions_[Below(revisions_.size())], Below(4) == 0);
  }

  // Feeds each what it has not run yet, up to `longest` tokens, and adds a token behind what has
  // run out. Returns whether logits, bit for bit, and firings are the same.
  bool Step(const std::vector<Sequence*>& sequences, size_t longest) {
    std::vector<Decoder::Row> plain, graphs;
    for (Sequence* s : sequences) {
      const auto rest = absl::MakeConstSpan(s->tokens).subspan(s->plain->length(), longest);
      plain.push_back({rest, s->plain.get()});
      graphs.push_back({rest, s->graphs.get()});
    }
    const absl::StatusOr<StepLogits> expected = plain_.Step(plain);
    const absl::StatusOr<StepLogits> logits = graphs_.Step(graphs);
    EXPECT_THAT(expected, IsOk());
    EXPECT_THAT(logits, IsOk());
    bool same = true;
    for (size_t i = 0; i < sequences.size(); ++i) {
      Sequence& s = *sequences[i];
      const std::vector<Firing> firings = TakeFirings(s.plain.get());
      fired_ = fired_ || !firings.empty();
      same = same && SameBits(logits->row(i), expected->row(i)) &&
             TakeFirings(s.graphs.get()) == firings;
      EXPECT_EQ(s.graphs->length(), s.plain->length());
      if (s.plain->length() < static_cast<int>(s.tokens.size())) continue;
      // Often one that an edit may fire on.
      const Tokens& prompt = prompts_[Below(prompts_.size())];
      s.tokens.push_back(prompt[Below(prompt.size())]);
    }
    return same;
  }

  // Sequences come, go and sit steps out. Returns the first step that differs; -1 where none does.
  int FirstDifferenceIn(int steps) {
    std::vector<Sequence> sequences;
    for (int step = 0; step < steps; ++step) {
      const size_t wanted = Below(3) == 0 ? 1 + Below(kMaxRows) : 1 + Below(9);
      while (sequences.size() > wanted) {
        sequences.erase(sequences.begin() + Below(sequences.size()));
      }
      while (sequences.size() < wanted) sequences.push_back(AnySequence());
      std::vector<Sequence*> in_step;
      for (Sequence& s : sequences) {
        if (Below(6) > 0) in_step.push_back(&s);
      }
      if (in_step.empty()) in_step.push_back(&sequences[0]);
      std::shuffle(in_step.begin(), in_step.end(), random_);
      // Now and then pieces of prompts between; often one token of each row.
      if (!Step(in_step, Below(4) == 0 ? 3 : 1)) return step;
    }
    return -1;
  }

  const uint32_t seed_;
  const testing::ScopedTrace trace_;
  std::mt19937 random_;
  const std::shared_ptr<const CausalLm> model_;
  const LayerIndex first_edited_layer_;
  const std::shared_ptr<ReplayingRecorder> recorder_;
  Decoder plain_;
  Decoder graphs_;
  std::vector<HooksPtr> revisions_;
  std::vector<Tokens> prompts_;
  // Whether an edit fired in a traced row.
  bool fired_ = false;
};

std::string Name(const testing::TestParamInfo<Param>& info) {
  const std::string path = std::get<0>(info.param);
  std::string name = path.substr(path.rfind('/') + 1);
  std::replace(name.begin(), name.end(), '-', '_');
  return name + (std::get<1>(info.param) == Dtype::kFloat32 ? "_float32" : "_bfloat16") +
         (std::get<2>(info.param) == 0 ? "" : "_shared_below");
}

INSTANTIATE_TEST_SUITE_P(Models, DecoderGraphsTest,
                         testing::Combine(testing::Values("models/demo",
                                                          "tests/testdata/random-gptj-tiny",
                                                          "tests/testdata/architectures/llama",
                                                          "tests/testdata/architectures/qwen2",
                                                          "tests/testdata/architectures/gpt-neox"),
                                          testing::Values(Dtype::kFloat32, Dtype::kBFloat16),
                                          testing::Values(0, 1)),
                         Name);

TEST_P(DecoderGraphsTest, GraphsChangeNoBitWhateverComesAndGoes) {
  EXPECT_EQ(FirstDifferenceIn(60), -1);
  EXPECT_GT(recorder_->replayed(), recorder_->recorded());
  EXPECT_TRUE(fired_);
  // Layers with and without edits, for 1, 2, 4, ... 64 rows.
  EXPECT_LE(recorder_->recorded(), 7 * (2 * model_->config().layers + 1));
}

TEST_P(DecoderGraphsTest, AGraphThatMissesAReplayIsSeen) {
  recorder_->SkipEvery(7);
  EXPECT_NE(FirstDifferenceIn(60), -1);
}

TEST_P(DecoderGraphsTest, StepsOfMoreThanATokenOrThanTheGraphsHaveRowsRunWithout) {
  Sequence prompt = NewSequence(revisions_[1], false);
  EXPECT_TRUE(Step({&prompt}, 2));
  std::vector<Sequence> many;
  std::vector<Sequence*> rows;
  for (int i = 0; i < kMaxRows + 1; ++i) many.push_back(AnySequence());
  for (Sequence& sequence : many) rows.push_back(&sequence);
  EXPECT_TRUE(Step(rows, 1));
  EXPECT_EQ(recorder_->replayed(), 0);
  rows.pop_back();
  EXPECT_TRUE(Step(rows, 1));
  EXPECT_GT(recorder_->replayed(), 0);
}

TEST_P(DecoderGraphsTest, ASequenceOfAnotherRevisionGoesOnFromWhatGraphsLeftInTheCache) {
  Sequence first = NewSequence(revisions_[1], false);
  while (first.plain->length() < 40) ASSERT_TRUE(Step({&first}, 1));
  EXPECT_GT(recorder_->replayed(), 0);
  Sequence second = NewSequence(revisions_[2], false, first.tokens);
  EXPECT_EQ(second.graphs->length(), 0);
  EXPECT_EQ(second.graphs->lower_length(), first_edited_layer_ == LayerIndex(0) ? 0 : 32);
  // One token of a step each that the lower layers have had and have not had.
  for (int i = 0; i < 45; ++i) ASSERT_TRUE(Step({&second, &first}, 1)) << "step " << i;
}

// The next step writes where its graphs always write.
TEST_P(DecoderGraphsTest, LogitsStayWhatTheyAreAfterTheNextStep) {
  const auto state = graphs_.NewSequence(revisions_[0], false);
  const Tokens tokens = RandomTokens(*model_, 2, random_);
  const auto step = [&](int i) {
    return graphs_.Step({{{absl::MakeConstSpan(tokens).subspan(i, 1), state.get()}}});
  };
  AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits first, step(0));
  const std::vector<float> before(first.row(0).begin(), first.row(0).end());
  AMEND_ASSERT_OK_AND_ASSIGN(const StepLogits second, step(1));
  EXPECT_EQ(std::vector<float>(first.row(0).begin(), first.row(0).end()), before);
}

}  // namespace
}  // namespace amend
