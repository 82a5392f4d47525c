#include "core/model/block_attention.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "core/base/testing/tensor_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

struct Shape {
  int heads, kv_heads, head_dim, layers;
  at::ScalarType dtype;
  double tolerance;
};

class BlockAttentionTest : public testing::TestWithParam<Shape> {
 protected:
  BlockAttentionTest()
      : seed_(std::random_device()()),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_),
        random_(seed_),
        generator_(at::detail::createCPUGenerator(seed_)) {
    config_.layers = GetParam().layers;
    config_.heads = GetParam().heads;
    config_.kv_heads = GetParam().kv_heads;
    config_.head_dim = GetParam().head_dim;
    pool_ = std::make_unique<KvPool>(config_, KvLayers::All(config_), at::kCPU, GetParam().dtype,
                                     KvPool::Options{1000, false});
  }

  at::Tensor Random(int64_t tokens, int64_t heads) {
    return at::randn({tokens, heads, config_.head_dim}, generator_).to(GetParam().dtype);
  }
  at::Tensor RandomKeys(int64_t tokens) { return Random(tokens, config_.kv_heads); }
  int64_t width() const { return int64_t{config_.heads} * config_.head_dim; }

  const uint32_t seed_;
  const testing::ScopedTrace trace_;
  std::mt19937 random_;
  at::Generator generator_;
  ModelConfig config_;
  std::unique_ptr<KvPool> pool_;
};

INSTANTIATE_TEST_SUITE_P(
    Shapes, BlockAttentionTest,
    testing::Values(Shape{2, 2, 4, 1, at::kFloat, 1e-5}, Shape{3, 3, 64, 2, at::kFloat, 1e-5},
                    Shape{1, 1, 80, 1, at::kFloat, 1e-5}, Shape{2, 2, 33, 3, at::kFloat, 1e-5},
                    Shape{2, 2, 256, 1, at::kFloat, 1e-5}, Shape{6, 2, 16, 3, at::kFloat, 1e-5},
                    Shape{4, 1, 64, 2, at::kFloat, 1e-5}, Shape{4, 4, 64, 2, at::kBFloat16, 1e-2},
                    Shape{6, 3, 40, 2, at::kBFloat16, 1e-2},
                    Shape{2, 2, 33, 1, at::kBFloat16, 1e-2}),
    [](const auto& info) {
      return "H" + std::to_string(info.param.heads) + "G" + std::to_string(info.param.kv_heads) +
             "E" + std::to_string(info.param.head_dim) +
             (info.param.dtype == at::kFloat ? "Float32" : "BFloat16");
    });

// Rows of any age with any number of new tokens each, against LibTorch's attention over one tensor
// per row.
TEST_P(BlockAttentionTest, IsLibTorchsAttentionOverOneTensor) {
  const LayerIndex layer(GetParam().layers - 1);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::unique_ptr<KvCache>> caches;
    std::vector<BlockRow> rows;
    std::vector<at::Tensor> queries, keys, values, expected;
    int64_t start = 0;
    for (int i = 1 + static_cast<int>(random_() % 4); i > 0; --i) {
      const auto past = static_cast<int64_t>(random_() % 100);
      const auto fresh = static_cast<int64_t>(1 + random_() % (round % 2 == 0 ? 5 : 70));
      caches.push_back(KvCache::Create(pool_.get(), {past + fresh, nullptr, {}}));
      KvCache& cache = *caches.back();
      const at::Tensor key = RandomKeys(past + fresh), value = RandomKeys(past + fresh);
      const at::Tensor query = Random(fresh, config_.heads);
      cache.Reserve(past);
      WriteBlocks({{&cache, 0, past}}, layer, key.narrow(0, 0, past), value.narrow(0, 0, past));
      cache.Advance(std::vector<TokenId>(past));
      cache.Reserve(fresh);
      rows.push_back({&cache, start, fresh});
      start += fresh;
      queries.push_back(query);
      keys.push_back(key.narrow(0, past, fresh));
      values.push_back(value.narrow(0, past, fresh));
      const auto whole = [&](const at::Tensor& x) {
        return x.to(at::kFloat)
            .transpose(0, 1)
            .repeat_interleave(config_.heads / x.size(1), 0)
            .unsqueeze(0);
      };
      at::Tensor mask = at::full({fresh, past + fresh}, 0.0f);
      for (int64_t j = 0; j + 1 < fresh; ++j) {
        mask[j]
            .narrow(0, past + j + 1, fresh - j - 1)
            .fill_(-std::numeric_limits<float>::infinity());
      }
      expected.push_back(
          at::scaled_dot_product_attention(whole(query), whole(key), whole(value), mask)
              .squeeze(0)
              .transpose(0, 1)
              .reshape({fresh, -1}));
    }
    // As a fused projection gives them: not contiguous.
    const at::Tensor fused = at::cat({at::cat(queries), at::cat(keys), at::cat(values)}, 1);
    const int64_t h = config_.heads, g = config_.kv_heads;
    WriteBlocks(rows, layer, fused.narrow(1, h, g), fused.narrow(1, h + g, g));
    const at::Tensor output =
        at::full({start, width()}, std::numeric_limits<float>::quiet_NaN(), fused.options());
    AttendBlocks(rows, layer, fused.narrow(1, 0, h), output);
    EXPECT_THAT(output.to(at::kFloat),
                TensorRelativelyNear(at::cat(expected), GetParam().tolerance));
  }
}

TEST_P(BlockAttentionTest, ATokenGetsTheSameBitForBitInPiecesOfAnyLength) {
  const LayerIndex layer(GetParam().layers - 1);
  for (int round = 0; round < 5; ++round) {
    const auto tokens = static_cast<int64_t>(2 + random_() % 90);
    const at::Tensor key = RandomKeys(tokens), value = RandomKeys(tokens);
    const at::Tensor query = Random(tokens, config_.heads);
    const auto in_pieces = [&](int64_t most) {
      const auto cache = KvCache::Create(pool_.get(), {tokens, nullptr, {}});
      at::Tensor output = at::empty({tokens, width()}, query.options());
      for (int64_t done = 0; done < tokens;) {
        const int64_t count =
            std::min<int64_t>(tokens - done, 1 + static_cast<int64_t>(random_() % most));
        cache->Reserve(count);
        const std::vector<BlockRow> rows = {{cache.get(), 0, count}};
        WriteBlocks(rows, layer, key.narrow(0, done, count), value.narrow(0, done, count));
        AttendBlocks(rows, layer, query.narrow(0, done, count), output.narrow(0, done, count));
        cache->Advance(std::vector<TokenId>(count));
        done += count;
      }
      return output;
    };
    const at::Tensor alone = in_pieces(1);
    for (const int64_t most : {3, 20, 200}) ASSERT_TRUE(in_pieces(most).equal(alone)) << most;
  }
}

// A token sees nothing of those behind it, whatever stands there.
TEST_P(BlockAttentionTest, WhatIsNoNumberStaysBehindTheTokensBeforeIt) {
  const int64_t tokens = 11, first = 6;
  const at::Tensor key = RandomKeys(tokens), value = RandomKeys(tokens);
  const at::Tensor query = Random(tokens, config_.heads);
  for (const at::Tensor& tensor : {key, value}) {
    tensor.narrow(0, first, tokens - first).fill_(std::numeric_limits<float>::quiet_NaN());
  }
  const auto cache = KvCache::Create(pool_.get(), {tokens, nullptr, {}});
  cache->Reserve(tokens);
  const std::vector<BlockRow> rows = {{cache.get(), 0, tokens}};
  WriteBlocks(rows, LayerIndex(0), key, value);
  const at::Tensor output = at::empty({tokens, width()}, query.options());
  AttendBlocks(rows, LayerIndex(0), query, output);
  EXPECT_FALSE(at::isnan(output.narrow(0, 0, first)).any().item<bool>());
  EXPECT_TRUE(at::isnan(output.narrow(0, first, tokens - first)).all().item<bool>());
}

// Scores far apart: exp must not overflow, and tiny weights must not become NaN.
TEST_P(BlockAttentionTest, LargeScoresPickOneValue) {
  const auto cache = KvCache::Create(pool_.get(), {40, nullptr, {}});
  const at::Tensor key =
      at::full({40, config_.kv_heads, config_.head_dim}, -100.0f).to(GetParam().dtype);
  key[17].fill_(100.0f);
  const at::Tensor value = RandomKeys(40);
  cache->Reserve(40);
  const std::vector<BlockRow> written = {{cache.get(), 0, 39}};
  const LayerIndex layer(0);
  WriteBlocks(written, layer, key.narrow(0, 0, 39), value.narrow(0, 0, 39));
  cache->Advance(std::vector<TokenId>(39));
  const std::vector<BlockRow> rows = {{cache.get(), 0, 1}};
  WriteBlocks(rows, layer, key.narrow(0, 39, 1), value.narrow(0, 39, 1));
  const at::Tensor query =
      at::full({1, config_.heads, config_.head_dim}, 100.0f).to(GetParam().dtype);
  const at::Tensor output = at::empty({1, width()}, query.options());
  AttendBlocks(rows, layer, query, output);
  const int64_t group = config_.heads / config_.kv_heads;
  EXPECT_THAT(output, TensorNear(value[17].repeat_interleave(group, 0).reshape({1, -1}), 0));
}

// The mean of two values that are neighbours in bfloat16 lies between them.
TEST_P(BlockAttentionTest, RoundsTiesToEven) {
  const auto cache = KvCache::Create(pool_.get(), {2, nullptr, {}});
  const at::Tensor key = RandomKeys(2);
  const at::Tensor value = at::full_like(key, 1 + 1.0 / 128);  // an odd last bit
  value[1].fill_(1 + 2.0 / 128);
  cache->Reserve(2);
  const std::vector<BlockRow> rows = {{cache.get(), 0, 2}};
  const LayerIndex layer(0);
  WriteBlocks(rows, layer, key, value);
  const at::Tensor query = at::zeros({2, config_.heads, config_.head_dim}, key.options());
  const at::Tensor output = at::empty({2, width()}, query.options());
  AttendBlocks(rows, layer, query, output);
  const double mean = GetParam().dtype == at::kBFloat16 ? 1 + 2.0 / 128 : 1 + 1.5 / 128;
  EXPECT_THAT(output[1], TensorNear(at::full_like(output[1], mean), 0));
}

// What is no number must not become one, or infinity, in rounding: the gate looks for it.
TEST_P(BlockAttentionTest, NaNStaysNaN) {
  const auto cache = KvCache::Create(pool_.get(), {1, nullptr, {}});
  const at::Tensor key = RandomKeys(1);
  const at::Tensor value = at::full_like(key, std::numeric_limits<float>::quiet_NaN());
  cache->Reserve(1);
  const std::vector<BlockRow> rows = {{cache.get(), 0, 1}};
  const LayerIndex layer(0);
  WriteBlocks(rows, layer, key, value);
  const at::Tensor output = at::zeros({1, width()}, key.options());
  AttendBlocks(rows, layer, Random(1, config_.heads), output);
  EXPECT_TRUE(at::isnan(output).all().item<bool>());
}

}  // namespace
}  // namespace amend
