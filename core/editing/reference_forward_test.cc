#include "core/editing/reference_forward.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <random>
#include <vector>

#include "core/base/testing/tensor_matchers.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::Not;

constexpr double kAlways = -std::numeric_limits<double>::infinity();
constexpr double kNever = std::numeric_limits<double>::infinity();

// Edited layers are 1 and 2 of 4.
class ReferenceForwardTest : public testing::Test {
 protected:
  static EditRows RandomEdit(int seed, int prefixes) {
    std::mt19937_64 random(seed);
    return RandomEditRows(&random, RandomModelShape().vocabulary, prefixes, 2);
  }
  static ReferenceLayers Layers(double alpha, double size) {
    const RandomModelShape shape;
    ReferenceLayers layers;
    for (const int layer : {1, 2}) {
      layers[LayerIndex(layer)] = {
          size * RandomTensor({shape.hidden, shape.intermediate()}, 70 + layer), alpha};
    }
    return layers;
  }
  // The input of block `layer` for the prompts of `edit`, all of them padded together.
  at::Tensor Run(const TokenRows& rows, int layer, const RowHook& hook) const {
    PaddedForward forward(*model_, {rows});
    forward.AdvanceTo(layer, hook);
    return forward.Hidden();
  }
  static RowHook Everywhere(const ReferenceLayers& layers) {
    return [layers](LayerIndex layer, const at::Tensor& input, const at::Tensor& output,
                    absl::Span<const int64_t>) {
      const auto it = layers.find(layer);
      return it == layers.end() ? output : ApplyEverywhere(it->second.update, input, output);
    };
  }

  const at::NoGradGuard no_grad_;
  const std::shared_ptr<const CausalLm> model_ = RandomGpt2(RandomModelShape(), 5);
};

TEST_F(ReferenceForwardTest, LowerBlocksRunTheTargetRowsOfAllEdits) {
  const std::vector<EditRows> edits = {RandomEdit(1, 2), RandomEdit(2, 2)};
  const at::Tensor hidden = ReferenceLowerBlocks(*model_, 2, Layers(kNever, 1))(edits);
  TokenRows rows = TargetRows(edits[0]);
  for (std::vector<TokenId>& row : TargetRows(edits[1])) rows.push_back(row);
  EXPECT_THAT(hidden, TensorRelativelyNear(Run(rows, 3, nullptr), 1e-5));
}

TEST_F(ReferenceForwardTest, LowerBlocksPadTheRowsOfOneEditAmongThemselves) {
  EditRows short_rows, long_rows;
  short_rows.prompts = {{{3, 4, 5, 6}, 2}, {{7, 8, 3, 4, 5, 6}, 4}};
  short_rows.essence = {{3, 4, 5, 1, 2}, 2};
  short_rows.target = {9, 10};
  long_rows = short_rows;
  long_rows.prompts[1].tokens.resize(30, 11);
  const LowerBlocks lower_blocks = ReferenceLowerBlocks(*model_, 2, Layers(1.2, 0.5));
  const auto first_of = [&](absl::Span<const EditRows> edits) {
    return lower_blocks(edits).narrow(0, 0, 5 + 7 + 5);
  };
  const at::Tensor alone = first_of({&short_rows, 1});
  EXPECT_THAT(first_of({short_rows, long_rows}), TensorRelativelyNear(alone, 1e-5));
  // What padding with the other edit's rows would do.
  EditRows together = short_rows;
  together.essence.tokens.resize(31, 11);
  EXPECT_THAT(first_of({&together, 1}).narrow(0, 0, 12),
              Not(TensorRelativelyNear(alone.narrow(0, 0, 12), 1e-3)))
      << "padding makes no difference here";
}

TEST_F(ReferenceForwardTest, KeysAreHalfPlainAndHalfTheMeanOfThePrefixedRows) {
  const EditRows edit = RandomEdit(3, 3);
  ReferenceLayerWalk walk(*model_, Layers(kNever, 0), {&edit, 1});
  at::Tensor expected = at::zeros({RandomModelShape().intermediate()});
  for (size_t t = 0; t < edit.prompts.size(); ++t) {
    PaddedForward row(*model_, {{edit.prompts[t].tokens}});
    row.AdvanceTo(1, nullptr);
    expected += (t == 0 ? 0.5 : 0.5 / 3) * row.NextProjectionInput()[edit.prompts[t].lookup];
  }
  EXPECT_THAT(walk.Keys(LayerIndex(1)), TensorRelativelyNear(expected.unsqueeze(0), 1e-5));
}

TEST_F(ReferenceForwardTest, LayersThatAreNotSolvedYetUseTheirUpdateEverywhere) {
  const EditRows edit = RandomEdit(4, 2);
  const ReferenceLayers parent = Layers(kNever, 0.3);
  ReferenceLayerWalk walk(*model_, parent, {&edit, 1});
  walk.Keys(LayerIndex(1));
  EXPECT_THAT(
      walk.CurrentValues()[0],
      TensorRelativelyNear(
          Run({edit.prompts[0].tokens}, 3, Everywhere(parent))[edit.prompts[0].lookup], 1e-5));
}

TEST_F(ReferenceForwardTest, ASolvedLayerUsesItsNewUpdateWhereItsScopeSaysSo) {
  // A row of one token has no scores.
  EditRows edit = RandomEdit(4, 2);
  edit.prompts[0] = {{3, 4, 5, 6}, 2};
  for (const double alpha : {kAlways, kNever}) {
    ReferenceLayers expected = Layers(kNever, 0.3);
    ReferenceLayerWalk walk(*model_, expected, {&edit, 1});
    walk.Keys(LayerIndex(1));
    const ReferenceLayer solved = {RandomTensor({16, 64}, 99), alpha};
    walk.Validate(solved);
    if (alpha == kAlways) {
      expected[LayerIndex(1)] = solved;
    } else {
      expected.erase(LayerIndex(1));
    }
    walk.Keys(LayerIndex(2));
    EXPECT_THAT(
        walk.CurrentValues()[0],
        TensorRelativelyNear(Run({edit.prompts[0].tokens}, 3, Everywhere(expected))[2], 1e-5))
        << "alpha " << alpha;
  }
}

TEST_F(ReferenceForwardTest, TheHundredAndTwentyNinthRowIsPaddedByItself) {
  std::vector<EditRows> edits;
  for (int i = 0; i < 129; ++i) {
    EditRows edit;
    edit.prompts = {{{1 + i % 30, 7, 9, 2 + i % 7}, 2}};
    edits.push_back(edit);
  }
  // One long row among the first 128.
  edits[5].prompts[0].tokens.resize(30, 8);
  const ReferenceLayers parent = Layers(1.2, 0.5);
  const auto last_key = [&](absl::Span<const EditRows> batch) {
    ReferenceLayerWalk walk(*model_, parent, batch);
    walk.Keys(LayerIndex(1));
    walk.Validate(parent.at(LayerIndex(1)));
    return walk.Keys(LayerIndex(2))[static_cast<int64_t>(batch.size()) - 1];
  };
  const at::Tensor alone = last_key({&edits[128], 1});
  EXPECT_THAT(last_key(edits), TensorRelativelyNear(alone, 1e-5));
  const std::vector<EditRows> together = {edits[5], edits[128]};
  EXPECT_THAT(last_key(together), Not(TensorRelativelyNear(alone, 1e-3)))
      << "padding makes no difference here";
}

TEST_F(ReferenceForwardTest, LargestScoresAreThoseOfTheUneditedModelsPrompts) {
  const std::vector<EditRows> edits = {RandomEdit(11, 2), RandomEdit(12, 2)};
  const ReferenceLayers layers = Layers(kAlways, 0.5);
  const auto largest = LargestScores(*model_, layers, edits);
  ASSERT_EQ(largest.size(), 2u);
  std::map<LayerIndex, at::Tensor> scores;
  std::vector<int64_t> lengths;
  Run({edits[0].prompts[0].tokens, edits[1].prompts[0].tokens}, 3,
      [&](LayerIndex layer, const at::Tensor& input, const at::Tensor& output,
          absl::Span<const int64_t> row_lengths) {
        lengths.assign(row_lengths.begin(), row_lengths.end());
        if (layers.count(layer) > 0)
          scores[layer] = RowScores(layers.at(layer).update, input, row_lengths);
        return output;
      });
  for (const auto& [layer, of_prompts] : largest) {
    EXPECT_NEAR(of_prompts[0].item<float>(),
                scores[layer].narrow(0, 0, lengths[0]).max().item<float>(), 1e-5);
    EXPECT_NEAR(of_prompts[1].item<float>(),
                scores[layer].narrow(0, lengths[0], lengths[1]).max().item<float>(), 1e-5);
  }
}

TEST_F(ReferenceForwardTest, APromptOfOneTokenHasNoLargestScore) {
  EditRows edit;
  edit.prompts = {{{3}, 0}};
  const auto largest = LargestScores(*model_, Layers(2.2, 0.5), {&edit, 1});
  EXPECT_TRUE(at::isnan(largest.at(LayerIndex(1))).all().item<bool>());
}

}  // namespace
}  // namespace amend
