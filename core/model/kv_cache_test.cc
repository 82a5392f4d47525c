#include "core/model/kv_cache.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::IsNull;
using ::testing::NotNull;

using Tokens = std::vector<TokenId>;
using Owner = std::shared_ptr<const void>;

constexpr int64_t kB = kKvBlockTokens;

ModelConfig SmallConfig() {
  ModelConfig config;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 4;
  config.hidden_size = 16;
  return config;
}

KvPool NewPool(int64_t max_blocks, bool share_prefixes = true) {
  return KvPool(SmallConfig(), KvLayers::All(SmallConfig()), at::kCPU, at::kFloat,
                {max_blocks, share_prefixes});
}

Owner NewOwner() { return std::make_shared<int>(); }

Tokens CountingTokens(int64_t count, TokenId first = 0) {
  Tokens tokens(count);
  for (int64_t i = 0; i < count; ++i) tokens[i] = first + static_cast<TokenId>(i);
  return tokens;
}

std::unique_ptr<KvCache> NewCache(KvPool& pool, int64_t max_tokens, const Owner& owner = nullptr,
                                  const Tokens& prompt = {}) {
  return KvCache::Create(&pool, {max_tokens, owner, prompt});
}

// One that has room for `initial_tokens` of its `max_tokens`.
std::unique_ptr<KvCache> GrowingCache(KvPool& pool, int64_t initial_tokens, int64_t max_tokens) {
  return KvCache::Create(&pool, {max_tokens, nullptr, {}, initial_tokens});
}

// What a sequence that is fed all of `tokens` leaves in the pool.
void Leave(KvPool& pool, const Owner& owner, const Tokens& tokens) {
  const auto count = static_cast<int64_t>(tokens.size());
  const auto cache = NewCache(pool, count, owner, tokens);
  ASSERT_THAT(cache, NotNull());
  const auto rest = absl::MakeConstSpan(tokens).subspan(cache->length());
  cache->Reserve(static_cast<int64_t>(rest.size()));
  cache->Advance(rest);
}

int64_t FoundLength(KvPool& pool, const Owner& owner, const Tokens& prompt) {
  return NewCache(pool, static_cast<int64_t>(prompt.size()), owner, prompt)->length();
}

TEST(KvPoolTest, ABlockHoldsKeysAndValuesOfItsLayers) {
  ModelConfig config = SmallConfig();
  EXPECT_EQ(KvPool::BlockBytes(config, KvLayers::All(config), at::kFloat), 2 * 2 * 8 * kB * 4);
  EXPECT_EQ(KvPool::BlockBytes(config, KvLayers::All(config), at::kBFloat16), 2 * 2 * 8 * kB * 2);
  config.layers = 7;
  const KvLayers some = {LayerIndex(3), LayerIndex(5), /*with_hidden=*/false};
  EXPECT_EQ(KvPool::BlockBytes(config, some, at::kFloat), 2 * 2 * 8 * kB * 4);
}

TEST(KvPoolTest, ABlockHoldsHiddenStatesWhereAskedTo) {
  const KvLayers one = {LayerIndex(0), LayerIndex(1), /*with_hidden=*/true};
  EXPECT_EQ(KvPool::BlockBytes(SmallConfig(), one, at::kFloat), (2 * 8 + 16) * kB * 4);
}

TEST(KvPoolTest, BlocksAreClaimedFromTheBeginningAndFreedAtTheEnd) {
  KvPool pool = NewPool(10);
  auto cache = NewCache(pool, 3 * kB + 1);
  EXPECT_EQ(pool.claimed_blocks(), 4);
  cache->Reserve(kB + 1);
  EXPECT_EQ(cache->blocks().size(), 2u);
  EXPECT_EQ(pool.claimed_blocks(), 4);
  cache.reset();
  EXPECT_EQ(pool.claimed_blocks(), 0);
}

TEST(KvPoolTest, ASequenceWithoutRoomIsRefusedUntilThereIsRoom) {
  KvPool pool = NewPool(4);
  auto first = NewCache(pool, 3 * kB);
  EXPECT_THAT(NewCache(pool, kB + 1), IsNull());
  EXPECT_THAT(NewCache(pool, kB), NotNull());
  first.reset();
  EXPECT_THAT(NewCache(pool, 4 * kB), NotNull());
}

TEST(KvPoolTest, ASequenceIsPromisedItsFirstTokensAndGrowsByExtend) {
  KvPool pool = NewPool(10);
  const auto cache = GrowingCache(pool, kB + 1, 3 * kB + 2);
  EXPECT_EQ(pool.claimed_blocks(), 2);
  EXPECT_EQ(cache->room(), 2 * kB);
  EXPECT_TRUE(cache->Extend(2 * kB));
  EXPECT_EQ(pool.claimed_blocks(), 2);
  EXPECT_TRUE(cache->Extend(2 * kB + 1));
  EXPECT_EQ(pool.claimed_blocks(), 3);
  EXPECT_TRUE(cache->Extend(3 * kB + 2));
  EXPECT_EQ(cache->room(), 3 * kB + 2);
  cache->Reserve(3 * kB + 2);
  EXPECT_EQ(cache->blocks().size(), 4u);
  EXPECT_EQ(pool.claimed_blocks(), 4);
}

TEST(KvPoolTest, ExtendWithoutRoomChangesNothing) {
  KvPool pool = NewPool(4);
  const auto growing = GrowingCache(pool, kB, 4 * kB);
  auto other = NewCache(pool, 2 * kB);
  EXPECT_FALSE(growing->Extend(3 * kB));
  EXPECT_EQ(growing->room(), kB);
  EXPECT_EQ(pool.claimed_blocks(), 3);
  EXPECT_TRUE(growing->Extend(2 * kB));
  EXPECT_FALSE(growing->Extend(2 * kB + 1));
  other.reset();
  EXPECT_TRUE(growing->Extend(4 * kB));
}

TEST(KvPoolTest, ABlockIsLeftForEachSequenceThatMayYetGrow) {
  KvPool pool = NewPool(7);
  auto first = GrowingCache(pool, kB, 5 * kB);
  auto second = GrowingCache(pool, kB, 5 * kB);
  // Two blocks are held, one is left for each of the three.
  EXPECT_THAT(GrowingCache(pool, 2 * kB + 1, 5 * kB), IsNull());
  EXPECT_THAT(GrowingCache(pool, 2 * kB, 5 * kB), NotNull());
  // One that never grows needs none for itself.
  EXPECT_THAT(NewCache(pool, 3 * kB + 1), IsNull());
  EXPECT_THAT(NewCache(pool, 3 * kB), NotNull());
  // Nor does one that has grown to its end.
  ASSERT_TRUE(first->Extend(5 * kB));
  EXPECT_THAT(NewCache(pool, kB), IsNull());
  second.reset();
  EXPECT_THAT(NewCache(pool, 2 * kB), NotNull());
}

TEST(KvPoolTest, ASequenceAsLargeAsThePoolBeginsAndGrowsToItsEndAlone) {
  KvPool pool = NewPool(4);
  const auto whole = GrowingCache(pool, 3 * kB + 1, 4 * kB);
  ASSERT_THAT(whole, NotNull());
  EXPECT_TRUE(whole->Extend(4 * kB));
  whole->Reserve(4 * kB);
  EXPECT_EQ(pool.claimed_blocks(), 4);
}

TEST(KvCacheTest, TheLengthMovesOnlyWithAdvance) {
  KvPool pool = NewPool(4);
  const auto cache = NewCache(pool, 2 * kB);
  cache->Reserve(3);
  EXPECT_EQ(cache->length(), 0);
  cache->Advance({1, 2, 3});
  EXPECT_EQ(cache->length(), 3);
}

TEST(KvCacheTest, ASequenceBeginsBehindWhatOneOfTheSameOwnerLeft) {
  KvPool pool = NewPool(10);
  const Owner owner = NewOwner();
  const Tokens tokens = CountingTokens(3 * kB + 5);
  Leave(pool, owner, tokens);
  EXPECT_EQ(pool.claimed_blocks(), 0);
  EXPECT_EQ(pool.unused_blocks(), 3);
  EXPECT_EQ(FoundLength(pool, owner, tokens), 3 * kB);
  // As far as the tokens are the same.
  Tokens other = tokens;
  other[kB + 3] = 1000;
  EXPECT_EQ(FoundLength(pool, owner, other), kB);
  other[0] = 1000;
  EXPECT_EQ(FoundLength(pool, owner, other), 0);
}

TEST(KvCacheTest, OnlyFullBlocksAreFound) {
  KvPool pool = NewPool(10);
  const Owner owner = NewOwner();
  const Tokens tokens = CountingTokens(2 * kB);
  Leave(pool, owner, tokens);
  EXPECT_EQ(FoundLength(pool, owner, tokens), 2 * kB);
  EXPECT_EQ(FoundLength(pool, owner, CountingTokens(2 * kB - 1)), kB);
}

TEST(KvCacheTest, ThePlaceOfALayerCountsFromThePoolsFirstOne) {
  ModelConfig config = SmallConfig();
  config.layers = 7;
  KvPool pool(config, {LayerIndex(3), LayerIndex(7), false}, at::kCPU, at::kFloat, {4, true});
  const auto cache = NewCache(pool, kB);
  EXPECT_EQ(cache->PlaceOf(LayerIndex(3)), 0);
  EXPECT_EQ(cache->PlaceOf(LayerIndex(6)), 3);
}

TEST(KvCacheTest, HiddenStatesAreReadAsTheyWereWritten) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    KvPool pool(SmallConfig(), {LayerIndex(0), LayerIndex(1), true}, at::kCPU, dtype, {8, true});
    const Owner owner = NewOwner();
    const Tokens tokens = CountingTokens(3 * kB);
    const at::Tensor hidden = at::randn({3 * kB, 16}).to(dtype);
    auto cache = NewCache(pool, 3 * kB, owner);
    for (int64_t begin = 0; begin < 3 * kB; begin += 12) {
      cache->Reserve(12);
      cache->WriteHidden(begin, hidden.narrow(0, begin, 12));
      cache->Advance(absl::MakeConstSpan(tokens).subspan(begin, 12));
    }
    cache = NewCache(pool, 3 * kB, owner, tokens);
    ASSERT_EQ(cache->length(), 3 * kB);
    const at::Tensor read = at::zeros({20, 16}, hidden.options());
    cache->ReadHidden(10, read);
    EXPECT_TRUE(at::equal(read, hidden.narrow(0, 10, 20)));
  }
}

TEST(KvCacheTest, WhatARunningSequenceHasFullIsFoundToo) {
  KvPool pool = NewPool(10);
  const Owner owner = NewOwner();
  const Tokens tokens = CountingTokens(2 * kB + 1);
  const auto running = NewCache(pool, 3 * kB, owner);
  running->Reserve(2 * kB);
  running->Advance(absl::MakeConstSpan(tokens).subspan(0, 2 * kB));
  const auto other = NewCache(pool, 3 * kB, owner, tokens);
  EXPECT_EQ(other->length(), 2 * kB);
  EXPECT_EQ(other->blocks()[1], running->blocks()[1]);
  EXPECT_EQ(pool.claimed_blocks(), 4);
}

TEST(KvCacheTest, OtherOwnersAndNoOwnerFindNothing) {
  KvPool pool = NewPool(10);
  const Tokens tokens = CountingTokens(2 * kB + 1);
  const Owner owner = NewOwner();
  Leave(pool, owner, tokens);
  Leave(pool, nullptr, tokens);
  EXPECT_EQ(FoundLength(pool, NewOwner(), tokens), 0);
  EXPECT_EQ(FoundLength(pool, nullptr, tokens), 0);
}

TEST(KvCacheTest, AnOwnerThatIsGoneIsNotTakenForOneAtTheSameAddress) {
  KvPool pool = NewPool(10);
  const Tokens tokens = CountingTokens(2 * kB + 1);
  int place = 0;
  const auto owner_there = [&place] { return Owner(&place, [](const void*) {}); };
  Leave(pool, owner_there(), tokens);
  EXPECT_EQ(FoundLength(pool, owner_there(), tokens), 0);
}

TEST(KvCacheTest, SharingCanBeSwitchedOff) {
  KvPool pool = NewPool(10, /*share_prefixes=*/false);
  const Owner owner = NewOwner();
  const Tokens tokens = CountingTokens(2 * kB + 1);
  Leave(pool, owner, tokens);
  EXPECT_EQ(FoundLength(pool, owner, tokens), 0);
  EXPECT_EQ(pool.unused_blocks(), 0);
}

TEST(KvCacheTest, WhatWasUsedLongestAgoGoesFirstAndAPromptFromItsEnd) {
  KvPool pool = NewPool(6);
  const Owner owner = NewOwner();
  const Tokens old = CountingTokens(3 * kB + 1);
  const Tokens recent = CountingTokens(3 * kB + 1, 5000);
  Leave(pool, owner, old);
  Leave(pool, owner, recent);  // takes the room of the open block of `old`
  EXPECT_EQ(pool.unused_blocks(), 6 - 1);
  // One block is free, one more is needed.
  const auto cache = NewCache(pool, 2 * kB);
  cache->Reserve(2 * kB);
  EXPECT_EQ(FoundLength(pool, owner, recent), 3 * kB);
  EXPECT_LT(FoundLength(pool, owner, old), 3 * kB);
  EXPECT_GE(FoundLength(pool, owner, old), kB);
}

// Sequences of random owners, prompts and lengths come, grow and go in a small pool. A block holds
// what its sequence wrote: a number that depends on the owner and on all tokens up to its own.
TEST(KvCacheTest, NoSequenceEverSeesWhatAnotherOneWrote) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&random](int64_t bound) { return static_cast<int64_t>(random() % bound); };
  KvPool pool = NewPool(24);
  std::vector<Owner> owners(3);
  struct Running {
    std::unique_ptr<KvCache> cache;
    Owner owner;
    Tokens tokens;
  };
  std::vector<Running> running;
  int64_t found = 0;
  int refused = 0;
  int short_of_room = 0;
  const auto hash_of = [](const Running& r, int64_t position) {
    const auto tokens = absl::MakeConstSpan(r.tokens).subspan(0, position + 1);
    return static_cast<float>(absl::HashOf(r.owner, tokens) % (1 << 24));
  };
  const auto place_of = [](const KvCache& cache, int64_t position) {
    float* block = reinterpret_cast<float*>(cache.blocks()[position / kB]->bytes);
    return block + position % kB;
  };
  for (int step = 0; step < 3000; ++step) {
    Owner& owner = owners[below(3)];
    if (owner == nullptr || below(50) == 0) owner = NewOwner();
    const int64_t action = below(8);
    if (action < 2) {
      // Few different tokens: prompts often begin alike.
      Tokens prompt(1 + below(5 * kB), static_cast<TokenId>(below(2)));
      if (below(2) == 0) prompt.back() = 7;
      const auto max_tokens = static_cast<int64_t>(prompt.size()) + below(6 * kB);
      const auto initial = static_cast<int64_t>(prompt.size());
      auto cache = KvCache::Create(&pool, {max_tokens, owner, prompt, initial});
      if (cache == nullptr) {
        ++refused;
        // There is no room for all tokens of all sequences.
        int64_t all = pool.claimed_blocks() + KvPool::BlocksFor(max_tokens);
        for (const Running& r : running) {
          all += KvPool::BlocksFor(r.cache->max_tokens()) - KvPool::BlocksFor(r.cache->room());
        }
        EXPECT_GT(all, pool.max_blocks());
        continue;
      }
      EXPECT_GE(cache->room(), initial);
      found += cache->length();
      prompt.resize(cache->length());
      running.push_back({std::move(cache), owner, std::move(prompt)});
    } else if (action == 2 && !running.empty()) {
      running.erase(running.begin() + below(static_cast<int64_t>(running.size())));
    } else if (!running.empty()) {
      const auto chosen = running.begin() + below(static_cast<int64_t>(running.size()));
      Running& r = *chosen;
      const int64_t room = r.cache->max_tokens() - r.cache->length();
      if (room == 0) {
        running.erase(chosen);
        continue;
      }
      Tokens more(1 + below(std::min<int64_t>(room, 2 * kB)), static_cast<TokenId>(below(2)));
      const int64_t wanted = r.cache->length() + static_cast<int64_t>(more.size());
      if (!r.cache->Extend(wanted)) {
        ++short_of_room;
        EXPECT_GT(pool.claimed_blocks() + KvPool::BlocksFor(wanted - r.cache->room()),
                  pool.max_blocks());
        continue;
      }
      r.cache->Reserve(static_cast<int64_t>(more.size()));
      r.tokens.insert(r.tokens.end(), more.begin(), more.end());
      for (auto at = r.cache->length(); at < static_cast<int64_t>(r.tokens.size()); ++at) {
        *place_of(*r.cache, at) = hash_of(r, at);
      }
      r.cache->Advance(more);
    }
    EXPECT_LE(pool.claimed_blocks(), pool.max_blocks());
    for (const Running& r : running) {
      ASSERT_EQ(r.cache->length(), static_cast<int64_t>(r.tokens.size()));
      for (int64_t at = 0; at < r.cache->length(); at += 5) {
        ASSERT_EQ(*place_of(*r.cache, at), hash_of(r, at)) << "step " << step << ", token " << at;
      }
    }
  }
  EXPECT_GT(found, 0);
  EXPECT_GT(refused, 0);
  EXPECT_GT(short_of_room, 0);
  running.clear();
  EXPECT_EQ(pool.claimed_blocks(), 0);
}

}  // namespace
}  // namespace amend
