#include "core/editing/padded_forward.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include <random>

#include "core/base/testing/tensor_matchers.h"
#include "core/editing/testing/random_model.h"
#include "core/model/attention.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::ElementsAre;

class PaddedForwardTest : public testing::Test {
 protected:
  std::vector<TokenId> Row(int length) {
    std::vector<TokenId> row(length);
    for (TokenId& token : row) token = 1 + static_cast<TokenId>(random_() % 30);
    return row;
  }
  // The input of block `layer` for one row, without padding and without a hook.
  at::Tensor Plain(const std::vector<TokenId>& row, int layer) const {
    const PackedTokens packed = PackTokens({row}, {}, at::kCPU);
    PackedAttention attention(packed.lengths, at::kCPU);
    return RunBlocks(*model_, 0, layer, model_->Embed(packed.ids, packed.positions),
                     packed.positions, attention, nullptr);
  }

  const at::NoGradGuard no_grad_;
  const std::shared_ptr<const CausalLm> model_ = RandomGpt2(RandomModelShape(), 5);
  std::mt19937 random_{3};
};

TEST_F(PaddedForwardTest, WithoutHooksTheRowsOwnTokensDoNotSeePads) {
  const std::vector<TokenRows> groups = {{Row(3), Row(7), Row(1)}, {Row(2), Row(4)}};
  std::vector<at::Tensor> expected;
  for (const TokenRows& group : groups) {
    for (const std::vector<TokenId>& row : group) expected.push_back(Plain(row, 3));
  }
  PaddedForward forward(*model_, groups);
  forward.AdvanceTo(3, nullptr);
  EXPECT_THAT(forward.Hidden(), TensorRelativelyNear(at::cat(expected, 0), 1e-5));
}

TEST_F(PaddedForwardTest, HooksSeeRowsAsLongAsTheLongestOfTheirGroup) {
  std::vector<std::vector<int64_t>> seen;
  int64_t tokens = 0;
  PaddedForward forward(*model_, {{Row(3), Row(7)}, {Row(2)}});
  forward.AdvanceTo(2, [&](LayerIndex, const at::Tensor& input, const at::Tensor& output,
                           absl::Span<const int64_t> lengths) {
    seen.emplace_back(lengths.begin(), lengths.end());
    tokens = input.size(0);
    return output;
  });
  EXPECT_THAT(seen, ElementsAre(ElementsAre(7, 7, 2), ElementsAre(7, 7, 2)));
  EXPECT_EQ(tokens, 16);
}

TEST_F(PaddedForwardTest, PadsHavePositionsOfTheirOwn) {
  at::Tensor seen;
  PaddedForward forward(*model_, {{Row(3), Row(5)}});
  forward.AdvanceTo(1, [&](LayerIndex, const at::Tensor& input, const at::Tensor& output,
                           absl::Span<const int64_t>) {
    seen = input;
    return output;
  });
  // The same token after the same row.
  EXPECT_FALSE(seen[3].equal(seen[4]));
}

TEST_F(PaddedForwardTest, NoTokenAttendsToAPad) {
  // A row of 3 tokens and 2 pads. `change` is added to the first pad in block 0.
  const std::vector<TokenRows> groups = {{Row(3), Row(5)}};
  const auto second_block_reads = [&](double change) {
    at::Tensor seen;
    PaddedForward forward(*model_, groups);
    forward.AdvanceTo(2, [&](LayerIndex layer, const at::Tensor& input, const at::Tensor& output,
                             absl::Span<const int64_t>) {
      if (layer.value() == 1) {
        seen = input;
        return output;
      }
      at::Tensor changed = output.clone();
      changed[3] += change * RandomTensor({RandomModelShape().hidden}, 8);
      return changed;
    });
    return seen;
  };
  const at::Tensor without = second_block_reads(0);
  const at::Tensor with = second_block_reads(100);
  EXPECT_FALSE(with[3].equal(without[3]));
  for (const int place : {0, 1, 2, 4}) {
    EXPECT_THAT(with[place], TensorRelativelyNear(without[place], 1e-5)) << "place " << place;
  }
}

TEST_F(PaddedForwardTest, TheNextProjectionInputIsWhatTheHookOfThatBlockSees) {
  at::Tensor seen;
  PaddedForward forward(*model_, {{Row(4), Row(4)}});
  forward.AdvanceTo(1, nullptr);
  const at::Tensor before = forward.Hidden();
  const at::Tensor next = forward.NextProjectionInput();
  EXPECT_TRUE(forward.Hidden().equal(before));
  forward.AdvanceTo(2, [&](LayerIndex, const at::Tensor& input, const at::Tensor& output,
                           absl::Span<const int64_t>) {
    seen = input;
    return output;
  });
  EXPECT_TRUE(next.equal(seen));
}

TEST_F(PaddedForwardTest, ACopyWalksOnByItself) {
  PaddedForward forward(*model_, {{Row(4), Row(2)}});
  forward.AdvanceTo(1, nullptr);
  const at::Tensor before = forward.Hidden();
  PaddedForward copy = forward;
  copy.AdvanceTo(3, nullptr);
  EXPECT_TRUE(forward.Hidden().equal(before));
  forward.AdvanceTo(3, nullptr);
  EXPECT_TRUE(forward.Hidden().equal(copy.Hidden()));
}

}  // namespace
}  // namespace amend
