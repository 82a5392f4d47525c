#include "core/model/attention.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "core/base/testing/tensor_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kHeads = 2;
constexpr int64_t kDim = 4;
constexpr double kTolerance = 1e-5;
const LayerIndex kLayer(0);

using Lengths = std::vector<int64_t>;

struct Inputs {
  at::Tensor query, key, value;  // [T, h, e]

  Inputs Range(int64_t begin, int64_t count) const {
    return {query.narrow(0, begin, count), key.narrow(0, begin, count),
            value.narrow(0, begin, count)};
  }
};

Inputs RandomInputs(int64_t tokens, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  const auto draw = [&] { return at::randn({tokens, kHeads, kDim}, generator); };
  return {draw(), draw(), draw()};
}

Inputs Concatenated(const std::vector<Inputs>& parts) {
  std::vector<at::Tensor> query, key, value;
  for (const Inputs& part : parts) {
    query.push_back(part.query);
    key.push_back(part.key);
    value.push_back(part.value);
  }
  return {at::cat(query), at::cat(key), at::cat(value)};
}

at::Tensor Attend(AttentionContext& attention, const Inputs& x, LayerIndex layer = kLayer) {
  return attention.Attend(layer, x.query, x.key, x.value);
}

int64_t Total(const Lengths& lengths) {
  return std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
}

Lengths Starts(const Lengths& lengths) {
  Lengths starts;
  int64_t start = 0;
  for (const int64_t n : lengths) {
    starts.push_back(start);
    start += n;
  }
  return starts;
}

// Softmax attention as its definition says, one query at a time. [T, h * e].
at::Tensor Naive(const Inputs& x, const Lengths& lengths) {
  at::Tensor result = at::zeros({Total(lengths), kHeads, kDim});
  const Lengths starts = Starts(lengths);
  for (size_t row = 0; row < lengths.size(); ++row) {
    for (int64_t i = 0; i < lengths[row]; ++i) {
      for (int64_t head = 0; head < kHeads; ++head) {
        const at::Tensor keys = x.key.select(1, head).narrow(0, starts[row], i + 1);
        const at::Tensor values = x.value.select(1, head).narrow(0, starts[row], i + 1);
        const at::Tensor query = x.query[starts[row] + i][head];
        const at::Tensor weights = at::softmax((keys * query).sum(1) / std::sqrt(kDim), 0);
        result[starts[row] + i][head].copy_((weights.unsqueeze(1) * values).sum(0));
      }
    }
  }
  return result.view({-1, kHeads * kDim});
}

class RowPackingTest : public testing::TestWithParam<Lengths> {};

TEST_P(RowPackingTest, UnpadUndoesPad) {
  const RowPacking packing(GetParam(), at::kCPU);
  const at::Tensor packed = RandomInputs(Total(GetParam()), 1).query;
  const at::Tensor padded = packing.Pad(packed);
  EXPECT_THAT(padded.sizes(), ElementsAre(packing.rows(), kHeads, packing.max_length(), kDim));
  EXPECT_THAT(packing.Unpad(padded), TensorNear(packed.reshape({-1, kHeads * kDim}), 0));
}

TEST_P(RowPackingTest, EachRowStandsAtTheLeftAndPaddingIsFinite) {
  const RowPacking packing(GetParam(), at::kCPU);
  const at::Tensor packed = RandomInputs(Total(GetParam()), 1).query;
  const at::Tensor padded = packing.Pad(packed);
  EXPECT_TRUE(padded.isfinite().all().item<bool>());
  for (int64_t row = 0; row < packing.rows(); ++row) {
    const int64_t n = packing.lengths()[row];
    EXPECT_THAT(padded[row].narrow(1, 0, n).transpose(0, 1),
                TensorNear(packed.narrow(0, packing.starts()[row], n), 0));
  }
}

TEST_P(RowPackingTest, CountsTokensAndStarts) {
  const RowPacking packing(GetParam(), at::kCPU);
  EXPECT_EQ(packing.total(), Total(GetParam()));
  EXPECT_EQ(packing.starts(), Starts(GetParam()));
  EXPECT_EQ(packing.lengths(), GetParam());
}

TEST_P(RowPackingTest, PackedAttentionIsNaiveAttention) {
  PackedAttention attention(GetParam(), at::kCPU);
  const Inputs x = RandomInputs(Total(GetParam()), 2);
  EXPECT_THAT(Attend(attention, x), TensorNear(Naive(x, GetParam()), kTolerance));
}

INSTANTIATE_TEST_SUITE_P(Lengths, RowPackingTest,
                         testing::Values(Lengths{1}, Lengths{5}, Lengths{3, 3, 3},
                                         Lengths{2, 5, 1, 4}, Lengths{0, 3, 0}, Lengths{4, 0, 1},
                                         Lengths{1, 1, 1, 1}, Lengths{0, 0}, Lengths{}));

TEST(RowPackingDtypeTest, BFloat16GoesThroughUnchanged) {
  const RowPacking packing({2, 1}, at::kCPU);
  const at::Tensor packed = RandomInputs(3, 1).query.to(at::kBFloat16);
  EXPECT_EQ(packing.Pad(packed).scalar_type(), at::kBFloat16);
}

TEST(PackedAttentionTest, GradientsReachTheInputsOfTheirOwnRowAlone) {
  Inputs x = RandomInputs(5, 3);
  x.value.requires_grad_(true);
  PackedAttention attention({2, 3}, at::kCPU);
  Attend(attention, x).narrow(0, 0, 2).sum().backward();
  EXPECT_GT(x.value.grad().narrow(0, 0, 2).abs().min().item<float>(), 0);
  EXPECT_EQ(x.value.grad().narrow(0, 2, 3).abs().max().item<float>(), 0);
}

// What layer 3 holds of rows of these lengths.
RecordedPrefix Recorded(const Lengths& lengths, const Inputs& x) {
  return RecordedPrefix{lengths, {x.key}, {x.value}, LayerIndex(3)};
}

// Records the first p_i tokens of each row; then the rest of each row goes on after them.
void ExpectPrefixedIsWhole(const Lengths& prefix_lengths, const Lengths& new_lengths,
                           uint64_t seed) {
  Lengths whole_lengths;
  for (size_t i = 0; i < new_lengths.size(); ++i) {
    whole_lengths.push_back(prefix_lengths[i] + new_lengths[i]);
  }
  const Inputs whole = RandomInputs(Total(whole_lengths), seed);
  const Lengths starts = Starts(whole_lengths);
  std::vector<Inputs> before, after;
  std::vector<at::Tensor> expected;
  PackedAttention reference(whole_lengths, at::kCPU);
  const at::Tensor whole_output = Attend(reference, whole);
  for (size_t i = 0; i < new_lengths.size(); ++i) {
    before.push_back(whole.Range(starts[i], prefix_lengths[i]));
    after.push_back(whole.Range(starts[i] + prefix_lengths[i], new_lengths[i]));
    expected.push_back(whole_output.narrow(0, starts[i] + prefix_lengths[i], new_lengths[i]));
  }
  const RecordedPrefix prefix = Recorded(prefix_lengths, Concatenated(before));
  PrefixedAttention attention(&prefix, new_lengths, at::kCPU, at::kFloat);
  EXPECT_THAT(Attend(attention, Concatenated(after), LayerIndex(3)),
              TensorNear(at::cat(expected), kTolerance))
      << "prefixes " << testing::PrintToString(prefix_lengths) << ", new tokens "
      << testing::PrintToString(new_lengths);
}

TEST(PrefixedAttentionTest, QueriesOfTheLastTokensAloneGiveTheirOutputs) {
  const Lengths prefix_lengths = {2, 0, 4}, new_lengths = {3, 4, 1};
  const Inputs x = RandomInputs(Total(new_lengths), 3);
  const RecordedPrefix prefix = Recorded(prefix_lengths, RandomInputs(Total(prefix_lengths), 4));
  PrefixedAttention whole(&prefix, new_lengths, at::kCPU, at::kFloat);
  PrefixedAttention last(&prefix, new_lengths, {2, 1, 1}, at::kCPU, at::kFloat);
  const at::Tensor wanted = at::tensor({1, 2, 6, 7}, at::kLong);
  EXPECT_THAT(last.Attend(LayerIndex(3), x.query.index_select(0, wanted), x.key, x.value),
              TensorNear(Attend(whole, x, LayerIndex(3)).index_select(0, wanted), kTolerance));
}

TEST(PrefixedAttentionTest, GoesOnLikeTheWholeRows) {
  ExpectPrefixedIsWhole({3}, {2}, 1);
  ExpectPrefixedIsWhole({3, 3}, {2, 2}, 2);
  ExpectPrefixedIsWhole({4, 1, 2}, {1, 3, 2}, 3);
}

TEST(PrefixedAttentionTest, PrefixesAndNewPartsMayBeEmpty) {
  ExpectPrefixedIsWhole({0, 4}, {3, 1}, 1);
  ExpectPrefixedIsWhole({2, 4}, {0, 3}, 2);
  ExpectPrefixedIsWhole({0, 0}, {2, 3}, 3);
  ExpectPrefixedIsWhole({2, 3}, {0, 0}, 4);
}

TEST(PrefixedAttentionTest, RandomRowsGoOnLikeTheWholeRows) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 50; ++i) {
    Lengths prefix_lengths, new_lengths;
    for (int rows = 1 + random() % 4; rows > 0; --rows) {
      prefix_lengths.push_back(random() % 6);
      new_lengths.push_back(random() % 6);
    }
    ExpectPrefixedIsWhole(prefix_lengths, new_lengths, random());
  }
}

// Heads of keys and values that two heads of queries each share.
class SharedHeadsTest : public testing::TestWithParam<Lengths> {
 protected:
  static constexpr int64_t kShared = 2;

  // Output and gradients of an attention over `x`, and over the same with keys and values repeated.
  template <typename AttendTo>
  static void ExpectRepeated(Inputs x, const AttendTo& attend) {
    const at::AutoGradMode enable_grad(true);
    Inputs shared, repeated;
    for (Inputs* one : {&shared, &repeated}) {
      *one = {x.query.clone(), x.key.clone(), x.value.clone()};
      for (at::Tensor* tensor : {&one->query, &one->key, &one->value}) {
        tensor->requires_grad_(true);
      }
    }
    const at::Tensor output = attend(shared);
    const at::Tensor expected =
        attend(Inputs{repeated.query, repeated.key.repeat_interleave(kShared, 1),
                      repeated.value.repeat_interleave(kShared, 1)});
    EXPECT_THAT(output.detach(), TensorNear(expected.detach(), kTolerance));
    const at::Tensor slope = at::randn(expected.sizes(), at::detail::createCPUGenerator(9));
    output.backward(slope);
    expected.backward(slope);
    EXPECT_THAT(shared.query.grad(), TensorNear(repeated.query.grad(), kTolerance));
    EXPECT_THAT(shared.key.grad(), TensorNear(repeated.key.grad(), kTolerance));
    EXPECT_THAT(shared.value.grad(), TensorNear(repeated.value.grad(), kTolerance));
  }

  static Inputs Random(int64_t tokens, uint64_t seed) {
    Inputs x = RandomInputs(tokens, seed);
    x.query = at::cat({x.query, RandomInputs(tokens, seed + 1).query}, 1);
    return x;
  }
};

TEST_P(SharedHeadsTest, WholeRowsAreThoseOfRepeatedHeads) {
  ExpectRepeated(Random(Total(GetParam()), 1), [](const Inputs& x) {
    PackedAttention attention(GetParam(), at::kCPU);
    return Attend(attention, x);
  });
}

TEST_P(SharedHeadsTest, RowsBehindAPrefixAreThoseOfRepeatedHeads) {
  const Lengths prefix_lengths(GetParam().size(), 3);
  const Inputs before = RandomInputs(Total(prefix_lengths), 5);
  ExpectRepeated(Random(Total(GetParam()), 2), [&](const Inputs& x) {
    const int64_t repeats = x.key.size(1) / kHeads;
    const RecordedPrefix prefix =
        Recorded(prefix_lengths, {before.query, before.key.repeat_interleave(repeats, 1),
                                  before.value.repeat_interleave(repeats, 1)});
    PrefixedAttention attention(&prefix, GetParam(), at::kCPU, at::kFloat);
    return Attend(attention, x, LayerIndex(3));
  });
}

// Short rows, and rows for LibTorch's attention.
INSTANTIATE_TEST_SUITE_P(Lengths, SharedHeadsTest,
                         testing::Values(Lengths{5, 2}, Lengths{40}, Lengths{35, 50}));

TEST(RecordedPrefixTest, SelectKeepsTheGivenRowsInTheGivenOrder) {
  const Inputs x = RandomInputs(9, 5);
  const RecordedPrefix selected = Recorded({4, 2, 3}, x).Select({2, 1});
  EXPECT_THAT(selected.lengths, ElementsAre(3, 2));
  EXPECT_EQ(selected.first_layer, LayerIndex(3));
  const at::Tensor places = at::tensor({6, 7, 8, 4, 5}, at::kLong);
  EXPECT_THAT(selected.keys[0], TensorNear(x.key.index_select(0, places), 0));
  EXPECT_THAT(selected.values[0], TensorNear(x.value.index_select(0, places), 0));
}

TEST(RecordedPrefixTest, SelectOfNoRowsIsEmpty) {
  EXPECT_TRUE(Recorded({2}, RandomInputs(2, 1)).Select({}).lengths.empty());
}

}  // namespace
}  // namespace amend
