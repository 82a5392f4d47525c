#include "core/model/cached_attention.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "core/base/testing/tensor_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr double kTolerance = 1e-5;

using Lengths = std::vector<int64_t>;

struct Inputs {
  at::Tensor query;       // [T, h, e]
  at::Tensor key, value;  // [T, g, e]

  Inputs Range(int64_t begin, int64_t count) const {
    return {query.narrow(0, begin, count), key.narrow(0, begin, count),
            value.narrow(0, begin, count)};
  }
};

// Each head of keys and values serves `group` heads of queries.
ModelConfig NewConfig(int layers, int kv_heads, int head_dim, int group = 1) {
  ModelConfig config;
  config.layers = layers;
  config.heads = kv_heads * group;
  config.kv_heads = kv_heads;
  config.head_dim = head_dim;
  return config;
}

Inputs RandomInputs(const ModelConfig& config, int64_t tokens, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  const auto draw = [&](int64_t heads) {
    return at::randn({tokens, heads, config.head_dim}, generator);
  };
  return {draw(config.heads), draw(config.kv_heads), draw(config.kv_heads)};
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

// What the cache was before it had blocks: keys and values of a sequence in one tensor each, that
// grows.
class ContiguousCache {
 public:
  at::Tensor Attend(const Inputs& x) {
    keys_ = keys_.defined() ? at::cat({keys_, x.key}) : x.key;
    values_ = values_.defined() ? at::cat({values_, x.value}) : x.value;
    const int64_t n = x.query.size(0);
    const auto whole = [&x](const at::Tensor& t) {
      return t.transpose(0, 1).repeat_interleave(x.query.size(1) / t.size(1), 0).unsqueeze(0);
    };
    const at::Tensor mask =
        at::ones({n, keys_.size(0)}, at::TensorOptions().dtype(at::kBool)).tril(keys_.size(0) - n);
    return at::scaled_dot_product_attention(whole(x.query), whole(keys_), whole(values_), mask)
        .squeeze(0)
        .transpose(0, 1)
        .reshape({n, -1});
  }

 private:
  at::Tensor keys_, values_;
};

// Runs rows in chunks of the given sizes, at every layer: chunks[i] are the chunk sizes of row i;
// rows without a chunk left sit a step out. Each must come out as on a cache of its own.
void ExpectSameAsContiguous(const ModelConfig& config, const std::vector<Lengths>& chunks,
                            uint64_t seed) {
  KvPool pool(config, KvLayers::All(config), at::kCPU, at::kFloat, {10'000, false});
  std::vector<std::unique_ptr<KvCache>> caches;
  std::vector<std::vector<Inputs>> rows(chunks.size());  // by row, by layer
  std::vector<std::vector<ContiguousCache>> expected(chunks.size());
  size_t steps = 0;
  for (size_t i = 0; i < chunks.size(); ++i) {
    const int64_t tokens = std::accumulate(chunks[i].begin(), chunks[i].end(), int64_t{0});
    caches.push_back(KvCache::Create(&pool, {tokens, nullptr, {}}));
    for (int layer = 0; layer < config.layers; ++layer) {
      rows[i].push_back(RandomInputs(config, tokens, seed + 100 * i + layer));
    }
    expected[i].resize(config.layers);
    steps = std::max(steps, chunks[i].size());
  }
  for (size_t step = 0; step < steps; ++step) {
    std::vector<CachedAttention::Row> running;
    std::vector<size_t> who;
    for (size_t i = 0; i < chunks.size(); ++i) {
      if (step >= chunks[i].size()) continue;
      running.push_back({caches[i].get(), chunks[i][step]});
      who.push_back(i);
    }
    CachedAttention attention(running, at::kCPU);
    for (int layer = 0; layer < config.layers; ++layer) {
      std::vector<Inputs> parts;
      std::vector<at::Tensor> outputs;
      for (size_t k = 0; k < running.size(); ++k) {
        parts.push_back(
            rows[who[k]][layer].Range(running[k].cache->length(), running[k].new_tokens));
        outputs.push_back(expected[who[k]][layer].Attend(parts.back()));
      }
      const Inputs x = Concatenated(parts);
      EXPECT_THAT(attention.Attend(LayerIndex(layer), x.query, x.key, x.value),
                  TensorNear(at::cat(outputs), kTolerance))
          << "step " << step << ", layer " << layer << ", chunks "
          << testing::PrintToString(chunks);
    }
    for (const CachedAttention::Row& row : running) {
      row.cache->Advance(std::vector<TokenId>(row.new_tokens));
    }
  }
}

TEST(CachedAttentionTest, APrefillInOneChunkIsTheWhole) {
  ExpectSameAsContiguous(NewConfig(1, 2, 4), {{7}}, 1);
  ExpectSameAsContiguous(NewConfig(1, 2, 4), {{70}}, 1);
}

TEST(CachedAttentionTest, ChunksAndSingleTokensAreTheWhole) {
  ExpectSameAsContiguous(NewConfig(2, 2, 4), {{3, 1, 4, 1, 1, 5, 20, 1}}, 2);
}

TEST(CachedAttentionTest, RowsOfDifferentAgesDoNotMix) {
  ExpectSameAsContiguous(NewConfig(2, 2, 4), {{1, 1, 1, 1}, {25, 3}, {2, 1, 36}}, 3);
}

TEST(CachedAttentionTest, RandomRowsInRandomChunksAreTheWhole) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 30; ++i) {
    std::vector<Lengths> chunks(1 + random() % 5);
    for (Lengths& row : chunks) {
      for (int steps = 1 + random() % 6; steps > 0; --steps) {
        row.push_back(random() % 2 == 0 ? 1 : 1 + random() % 40);
      }
    }
    const ModelConfig config = NewConfig(1 + random() % 3, 1 + random() % 4, 1 + random() % 70,
                                         /*group=*/1 + random() % 3);
    ExpectSameAsContiguous(config, chunks, random());
  }
}

}  // namespace
}  // namespace amend
