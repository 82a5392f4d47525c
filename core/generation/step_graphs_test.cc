#include "core/generation/step_graphs.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>

#include <memory>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "core/generation/testing/replaying_recorder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

using Tokens = std::vector<TokenId>;

// Something of each token's query, key and value. Notes where they lie; no graph may ask it.
class SelfAttention : public AttentionContext {
 public:
  explicit SelfAttention(const ReplayingRecorder* recorder) : recorder_(recorder) {}

  at::Tensor Attend(LayerIndex, const at::Tensor& query, const at::Tensor& key,
                    const at::Tensor& value) override {
    EXPECT_TRUE(recorder_ == nullptr || !recorder_->inside());
    rows.insert(query.size(0));
    addresses.insert({query.const_data_ptr(), key.const_data_ptr(), value.const_data_ptr()});
    return (value + query * key).flatten(1);
  }

  std::set<std::tuple<const void*, const void*, const void*>> addresses;
  std::set<int64_t> rows;

 private:
  const ReplayingRecorder* const recorder_;
};

// Doubles what the projection gives at some layers. Notes the layers and tokens that it is asked
// for.
class Doubling : public DownProjectionHook {
 public:
  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    asked.push_back({layer.value(), input.size(0)});
    return layers.count(layer.value()) > 0 ? output + output : output;
  }
  std::set<int> layers;
  mutable std::vector<std::pair<int, int64_t>> asked;
};

class StepGraphsTest : public testing::Test {
 protected:
  static PackedTokens Pack(const Tokens& ids) {
    std::vector<absl::Span<const TokenId>> rows;
    std::vector<int64_t> positions;
    for (size_t i = 0; i < ids.size(); ++i) {
      rows.push_back(absl::MakeConstSpan(ids).subspan(i, 1));
      positions.push_back(static_cast<int64_t>(3 * i + ids[i] % 5));
    }
    return PackTokens(rows, positions, at::kCPU);
  }
  // `rows` tokens, others for each `first`.
  static Tokens Row(int rows, TokenId first) {
    Tokens ids;
    for (int i = 0; i < rows; ++i) ids.push_back(first + 7 * i);
    return ids;
  }

  at::Tensor Run(StepGraphs* graphs, const Tokens& ids, const std::set<int>& edited = {}) {
    hook_.layers = edited;
    hidden_.clear();
    return graphs->Run(
        Pack(ids), attention_, hook_,
        [&](LayerIndex layer) { return edited.count(layer.value()) > 0; },
        [&](LayerIndex, const at::Tensor& hidden) { hidden_.push_back(hidden.clone()); });
  }
  at::Tensor Run(const Tokens& ids, const std::set<int>& edited = {}) {
    return Run(&graphs_, ids, edited);
  }

  // The same without graphs, by Block.
  at::Tensor Expected(const Tokens& ids, const std::set<int>& edited = {}) {
    expected_hidden_.clear();
    const PackedTokens tokens = Pack(ids);
    SelfAttention attention(nullptr);
    Doubling doubling;
    doubling.layers = edited;
    at::Tensor hidden = model_->Embed(tokens.ids, tokens.positions);
    for (int layer = 0; layer < layers_; ++layer) {
      expected_hidden_.push_back(hidden);
      hidden = model_->Block(LayerIndex(layer), hidden, tokens.positions, attention, &doubling);
    }
    return model_->Head(hidden);
  }

  const std::shared_ptr<const CausalLm> model_ = LoadCausalLm("models/demo", {}).value();
  const int layers_ = model_->config().layers;
  const std::shared_ptr<ReplayingRecorder> recorder_ = std::make_shared<ReplayingRecorder>();
  StepGraphs graphs_{model_, recorder_};
  SelfAttention attention_{recorder_.get()};
  Doubling hook_;
  // What each block read in the last step, with graphs and without.
  std::vector<at::Tensor> hidden_, expected_hidden_;
};

TEST_F(StepGraphsTest, RowsArePaddedToPowersOfTwo) {
  std::vector<int64_t> padded;
  for (const int rows : {1, 2, 3, 4, 5, 8, 9, 33, 64}) {
    padded.push_back(StepGraphs::PaddedRows(rows));
  }
  EXPECT_THAT(padded, ElementsAre(1, 2, 4, 4, 8, 8, 16, 64, 64));
}

TEST_F(StepGraphsTest, AStepIsItsBlocksBitForBit) {
  for (const int rows : {1, 3, 64}) {
    EXPECT_TRUE(at::equal(Run(Row(rows, 11)), Expected(Row(rows, 11)))) << rows << " rows";
  }
}

TEST_F(StepGraphsTest, NothingOutsideSeesRowsOfPadding) {
  EXPECT_EQ(Run(Row(5, 11), {2}).size(0), 5);
  EXPECT_THAT(attention_.rows, ElementsAre(5));
  EXPECT_THAT(hook_.asked, ElementsAre(Pair(2, 5)));
}

TEST_F(StepGraphsTest, WhatAnEarlierStepLeftInPaddingChangesNothing) {
  Run(Row(8, 400));
  EXPECT_TRUE(at::equal(Run(Row(5, 11)), Expected(Row(5, 11))));
}

TEST_F(StepGraphsTest, LayersWithEditsRunOutsideWithTheHook) {
  for (const std::set<int>& edited :
       {std::set<int>{0}, std::set<int>{2, 3}, std::set<int>{layers_ - 1}}) {
    EXPECT_TRUE(at::equal(Run(Row(3, 11), edited), Expected(Row(3, 11), edited)));
    EXPECT_EQ(hook_.asked.size(), edited.size());
    hook_.asked.clear();
  }
  EXPECT_TRUE(at::equal(Run(Row(3, 11)), Expected(Row(3, 11))));
  EXPECT_TRUE(hook_.asked.empty());
}

TEST_F(StepGraphsTest, WhatEachBlockReadsIsShown) {
  for (const std::set<int>& edited : {std::set<int>{}, std::set<int>{2}}) {
    Run(Row(3, 11), edited);
    Expected(Row(3, 11), edited);
    ASSERT_EQ(hidden_.size(), expected_hidden_.size());
    for (size_t layer = 0; layer < hidden_.size(); ++layer) {
      EXPECT_TRUE(at::equal(hidden_[layer], expected_hidden_[layer])) << "layer " << layer;
    }
  }
}

TEST_F(StepGraphsTest, AGraphIsRecordedOnceForItsRowsAndReplayed) {
  Run(Row(3, 11));
  const int pieces = layers_ + 1;
  EXPECT_EQ(recorder_->recorded(), pieces);
  EXPECT_EQ(recorder_->replayed(), pieces);
  Run(Row(4, 40));
  EXPECT_EQ(recorder_->recorded(), pieces);
  EXPECT_EQ(recorder_->replayed(), 2 * pieces);
  Run(Row(5, 11));
  EXPECT_EQ(recorder_->recorded(), 2 * pieces);
}

TEST_F(StepGraphsTest, AnEditedLayerAddsTheOneGraphThatBeginsBehindIt) {
  Run(Row(3, 11));
  Run(Row(3, 11), {2});
  EXPECT_EQ(recorder_->recorded(), layers_ + 2);
  Run(Row(3, 40), {2});
  EXPECT_EQ(recorder_->recorded(), layers_ + 2);
}

TEST_F(StepGraphsTest, GraphsAreBoundedByLayersAndNumbersOfRows) {
  std::set<int> all;
  for (int layer = 0; layer < layers_; ++layer) all.insert(layer);
  for (int rows = 1; rows <= StepGraphs::kMaxRows; ++rows) {
    Run(Row(rows, 11));
    Run(Row(rows, 11), all);
  }
  EXPECT_EQ(recorder_->recorded(), 7 * (2 * layers_ + 1));
}

TEST_F(StepGraphsTest, WhatGraphsReadAndWriteNeverMoves) {
  for (const int rows : {1, 64, 3, 64, 2}) Run(Row(rows, 11), {1});
  EXPECT_EQ(attention_.addresses.size(), 1);
}

TEST_F(StepGraphsTest, TwoOfOneRecorderKeepApart) {
  StepGraphs other(model_, recorder_);
  const at::Tensor first = Run(Row(3, 11));
  EXPECT_TRUE(at::equal(Run(&other, Row(3, 40)), Expected(Row(3, 40))));
  EXPECT_TRUE(at::equal(Run(Row(3, 11)), first));
}

}  // namespace
}  // namespace amend
