#ifndef AMEND_CORE_MODEL_KV_CACHE_H_
#define AMEND_CORE_MODEL_KV_CACHE_H_

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/model/model_config.h"

// Keys and values of past tokens, in blocks that all sequences take from one pool and that those
// which begin alike share. Letters: g heads of keys and values of e dimensions, B = kKvBlockTokens,
// d = hidden_size.

namespace amend {

// Tokens of one block.
inline constexpr int64_t kKvBlockTokens = 16;

// What the blocks of a pool hold of each token: keys and values of the layers [begin, end) and,
// where `with_hidden`, what the last of them gave, [d], which is what layer `end` goes on from.
struct KvLayers {
  LayerIndex begin;
  LayerIndex end;
  bool with_hidden = false;

  static KvLayers All(const ModelConfig& config) { return {{}, LayerIndex(config.layers), false}; }
};

// Keys and values of B consecutive tokens of a sequence, at the layers of its pool. Once full, its
// content never changes while it has users or can be found.
struct KvBlock {
  // Where a full block can be found: behind which one, and with which tokens.
  struct Place {
    uint64_t behind = 0;
    std::vector<TokenId> tokens;

    friend bool operator==(const Place& a, const Place& b) {
      return a.behind == b.behind && a.tokens == b.tokens;
    }
    template <typename H>
    friend H AbslHashValue(H state, const Place& place) {
      return H::combine(std::move(state), place.behind, place.tokens);
    }
  };

  at::Tensor memory;  // [layers of the pool, 2, g, B, e]: keys, then values
  at::Tensor hidden;  // [B, d]; undefined where the pool keeps none
  // On the CPU: where it begins.
  char* bytes = nullptr;
  // Living sequences.
  int users = 0;
  // Of a block that can be found; 0 otherwise. Never given twice.
  uint64_t number = 0;
  Place place;
  // In the pool's list of found blocks without users.
  std::list<KvBlock*>::iterator unused;
};

// All blocks of one model, for some of its layers. Memory is allocated when a block is first needed
// and kept. Full blocks that nobody uses any more stay, to be found by sequences that begin with
// the same tokens, until another sequence needs the memory; the one that was used longest ago goes
// first. Not thread-safe; owned by the scheduler thread. Outlives its caches.
//
// Guarantees:
//  1. What living sequences hold and what they are promised never pass max_blocks: a promised block
//     is there when it is taken, so that nothing fails between two layers.
//  2. A sequence is promised the blocks for its first tokens when it begins, and more only by
//     KvCache::Extend, which may fail.
//  3. A sequence begins only where a block for each one that may yet grow, itself included, would
//     be left. Whatever has room with all of its tokens has room so, and a sequence that fits into
//     the whole pool begins, and grows to its end, where it is alone.
class KvPool {
 public:
  struct Options {
    int64_t max_blocks = 0;
    // Whether full blocks can be found.
    bool share_prefixes = true;
  };

  KvPool(const ModelConfig& config, const KvLayers& layers, at::Device device, at::ScalarType dtype,
         Options options);

  static int64_t BlockBytes(const ModelConfig& config, const KvLayers& layers,
                            at::ScalarType dtype);
  // Blocks for `tokens` tokens.
  static int64_t BlocksFor(int64_t tokens) {
    return (tokens + kKvBlockTokens - 1) / kKvBlockTokens;
  }

  int64_t max_blocks() const { return options_.max_blocks; }
  // What living sequences hold or are promised.
  int64_t claimed_blocks() const { return used_ + promised_; }
  // What can be found and nobody uses.
  int64_t unused_blocks() const { return static_cast<int64_t>(unused_.size()); }

 private:
  friend class KvCache;

  // The number that blocks computed with `computed_with` follow at the beginning of a sequence. An
  // owner that is gone is never taken for another one at the same address.
  uint64_t RootOf(const std::shared_ptr<const void>& computed_with);
  // With one more user; null when there is none.
  KvBlock* Find(const KvBlock::Place& place);
  // A block for new tokens, out of what was promised.
  KvBlock* Take();
  void Release(KvBlock* block);
  // Lets a full block be found at `place`, unless another one is there already. Returns the number
  // of the one that is.
  uint64_t Publish(KvBlock* block, KvBlock::Place place);

  const at::TensorOptions tensor_options_;
  const LayerIndex first_layer_;
  const std::vector<int64_t> shape_;
  // [B, d]; empty where no hidden states are kept.
  const std::vector<int64_t> hidden_shape_;
  const Options options_;
  std::vector<std::unique_ptr<KvBlock>> blocks_;
  std::vector<KvBlock*> free_;
  // Longest unused first.
  std::list<KvBlock*> unused_;
  absl::flat_hash_map<KvBlock::Place, KvBlock*> found_;
  std::map<std::weak_ptr<const void>, uint64_t, std::owner_less<>> roots_;
  uint64_t last_number_ = 0;
  // Blocks with users, and blocks that were promised and not taken yet.
  int64_t used_ = 0;
  int64_t promised_ = 0;
  // Living caches that may yet need more than they were promised.
  int64_t growing_ = 0;
};

// Keys and values of one sequence at the layers of a pool. Not thread-safe; owned by the scheduler
// thread.
class KvCache {
 public:
  struct Options {
    // Tokens that it will ever hold.
    int64_t max_tokens = 0;
    // What keys and values are computed with, apart from the model: sequences of the same one that
    // begin with the same tokens share blocks. Null: shares none.
    std::shared_ptr<const void> computed_with;
    // It begins behind as much of this as is found in the pool.
    absl::Span<const TokenId> prompt;
    // Tokens for which it has room from the beginning, at least the prompt's; 0: for all of
    // max_tokens.
    int64_t initial_tokens = 0;
  };

  // Null when the pool has no room for it now (see KvPool).
  static std::unique_ptr<KvCache> Create(KvPool* pool, const Options& options);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  int64_t length() const { return length_; }
  int64_t max_tokens() const { return max_tokens_; }
  // Tokens for which it holds or is promised blocks, at most max_tokens().
  int64_t room() const;
  // Is promised blocks for `tokens` tokens in all, at most max_tokens(). False, and nothing has
  // changed, when the pool has none for it now.
  bool Extend(int64_t tokens);
  // Whether that would do.
  bool CanExtend(int64_t tokens) const;
  // Has blocks for `count` more tokens; length() + count is at most room().
  void Reserve(int64_t count);
  // The tokens whose keys and values were written behind the end.
  void Advance(absl::Span<const TokenId> tokens);

  // One for each B tokens, of the reserved ones too.
  const std::vector<KvBlock*>& blocks() const { return blocks_; }
  // Where the blocks' memory has keys and values of `layer`.
  int64_t PlaceOf(LayerIndex layer) const { return layer.value() - pool_->first_layer_.value(); }

  // Hidden states of the reserved tokens from `position` on, [n, d]. Only where the pool keeps
  // them.
  void WriteHidden(int64_t position, const at::Tensor& hidden);
  void ReadHidden(int64_t position, const at::Tensor& hidden) const;

 private:
  KvCache(KvPool* pool, int64_t max_tokens) : pool_(pool), max_tokens_(max_tokens) {}

  // Blocks that it holds or is promised.
  int64_t claimed() const { return static_cast<int64_t>(blocks_.size()) + promised_; }
  // What it lacks for `tokens` tokens.
  int64_t Lacking(int64_t tokens) const {
    return std::max<int64_t>(0, KvPool::BlocksFor(tokens) - claimed());
  }
  void Promise(int64_t blocks);

  KvPool* const pool_;
  const int64_t max_tokens_;
  std::vector<KvBlock*> blocks_;
  int64_t length_ = 0;
  // Blocks that it may yet take.
  int64_t promised_ = 0;
  // Whether the pool counts it among those that may yet grow.
  bool grows_ = false;
  bool shares_ = false;
  // Of the last full block.
  uint64_t behind_ = 0;
  // Tokens of the block that is not full.
  std::vector<TokenId> open_tokens_;
};

}  // namespace amend

#endif  // AMEND_CORE_MODEL_KV_CACHE_H_
