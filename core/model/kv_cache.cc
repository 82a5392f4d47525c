#include "core/model/kv_cache.h"

#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <utility>

namespace amend {
namespace {

std::vector<int64_t> ShapeOf(const ModelConfig& config, const KvLayers& layers) {
  return {layers.end.value() - layers.begin.value(), 2, config.kv_heads, kKvBlockTokens,
          config.head_dim};
}

std::vector<int64_t> HiddenShapeOf(const ModelConfig& config, const KvLayers& layers) {
  if (!layers.with_hidden) return {};
  return {kKvBlockTokens, config.hidden_size};
}

// Calls visit(rows of a block's hidden states, the same tokens' rows of `hidden`), block by block.
template <typename Visit>
void ForEachBlock(const std::vector<KvBlock*>& blocks, int64_t position, const at::Tensor& hidden,
                  const Visit& visit) {
  for (int64_t i = 0; i < hidden.size(0);) {
    const int64_t place = (position + i) % kKvBlockTokens;
    const int64_t count = std::min(kKvBlockTokens - place, hidden.size(0) - i);
    visit(blocks[(position + i) / kKvBlockTokens]->hidden.narrow(0, place, count),
          hidden.narrow(0, i, count));
    i += count;
  }
}

}  // namespace

KvPool::KvPool(const ModelConfig& config, const KvLayers& layers, at::Device device,
               at::ScalarType dtype, Options options)
    : tensor_options_(at::TensorOptions().dtype(dtype).device(device)),
      first_layer_(layers.begin),
      shape_(ShapeOf(config, layers)),
      hidden_shape_(HiddenShapeOf(config, layers)),
      options_(options) {}

int64_t KvPool::BlockBytes(const ModelConfig& config, const KvLayers& layers,
                           at::ScalarType dtype) {
  int64_t numbers = c10::multiply_integers(ShapeOf(config, layers));
  if (layers.with_hidden) numbers += c10::multiply_integers(HiddenShapeOf(config, layers));
  return numbers * static_cast<int64_t>(c10::elementSize(dtype));
}

uint64_t KvPool::RootOf(const std::shared_ptr<const void>& computed_with) {
  const std::weak_ptr<const void> owner = computed_with;
  const auto found = roots_.find(owner);
  if (found != roots_.end()) return found->second;
  for (auto it = roots_.begin(); it != roots_.end();) {
    it = it->first.expired() ? roots_.erase(it) : std::next(it);
  }
  return roots_[owner] = ++last_number_;
}

KvBlock* KvPool::Find(const KvBlock::Place& place) {
  const auto found = found_.find(place);
  if (found == found_.end()) return nullptr;
  KvBlock* const block = found->second;
  if (block->users++ == 0) {
    unused_.erase(block->unused);
    ++used_;
  }
  return block;
}

KvBlock* KvPool::Take() {
  KvBlock* block = nullptr;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else if (static_cast<int64_t>(blocks_.size()) < options_.max_blocks) {
    auto fresh = std::make_unique<KvBlock>();
    fresh->memory = at::empty(shape_, tensor_options_);
    if (!hidden_shape_.empty()) fresh->hidden = at::empty(hidden_shape_, tensor_options_);
    if (fresh->memory.is_cpu()) fresh->bytes = static_cast<char*>(fresh->memory.data_ptr());
    block = fresh.get();
    blocks_.push_back(std::move(fresh));
  } else {
    // What was promised is there: everything that has no user.
    block = unused_.front();
    unused_.pop_front();
    found_.erase(block->place);
    block->number = 0;
  }
  block->users = 1;
  ++used_;
  --promised_;
  return block;
}

void KvPool::Release(KvBlock* block) {
  if (--block->users > 0) return;
  --used_;
  if (block->number != 0) {
    block->unused = unused_.insert(unused_.end(), block);
  } else {
    free_.push_back(block);
  }
}

uint64_t KvPool::Publish(KvBlock* block, KvBlock::Place place) {
  const auto [it, is_new] = found_.try_emplace(place, block);
  if (is_new) {
    block->place = std::move(place);
    block->number = ++last_number_;
  }
  return it->second->number;
}

std::unique_ptr<KvCache> KvCache::Create(KvPool* pool, const Options& options) {
  std::unique_ptr<KvCache> cache(new KvCache(pool, options.max_tokens));
  cache->shares_ = options.computed_with != nullptr && pool->options_.share_prefixes;
  if (cache->shares_) {
    cache->behind_ = pool->RootOf(options.computed_with);
    const auto end = static_cast<int64_t>(options.prompt.size());
    for (int64_t begin = 0; begin + kKvBlockTokens <= end; begin += kKvBlockTokens) {
      const auto tokens = options.prompt.subspan(begin, kKvBlockTokens);
      KvBlock* const block = pool->Find({cache->behind_, {tokens.begin(), tokens.end()}});
      if (block == nullptr) break;
      cache->blocks_.push_back(block);
      cache->behind_ = block->number;
      cache->length_ += kKvBlockTokens;
    }
  }
  const int64_t tokens = options.initial_tokens > 0 ? options.initial_tokens : options.max_tokens;
  const int64_t grows = KvPool::BlocksFor(tokens) < KvPool::BlocksFor(options.max_tokens) ? 1 : 0;
  const int64_t needed = KvPool::BlocksFor(tokens) - cache->claimed();
  const int64_t free = pool->max_blocks() - pool->claimed_blocks();
  if (needed + pool->growing_ + grows > free) return nullptr;
  cache->Promise(needed);
  return cache;
}

KvCache::~KvCache() {
  pool_->promised_ -= promised_;
  if (grows_) --pool_->growing_;
  // The last block first: it goes before those that it can only be found behind.
  std::for_each(blocks_.rbegin(), blocks_.rend(), [this](KvBlock* b) { pool_->Release(b); });
}

int64_t KvCache::room() const { return std::min(max_tokens_, claimed() * kKvBlockTokens); }

bool KvCache::CanExtend(int64_t tokens) const {
  return pool_->claimed_blocks() + Lacking(tokens) <= pool_->max_blocks();
}

bool KvCache::Extend(int64_t tokens) {
  if (!CanExtend(tokens)) return false;
  Promise(Lacking(tokens));
  return true;
}

void KvCache::Promise(int64_t blocks) {
  promised_ += blocks;
  pool_->promised_ += blocks;
  const bool grows = room() < max_tokens_;
  pool_->growing_ += static_cast<int>(grows) - static_cast<int>(grows_);
  grows_ = grows;
}

void KvCache::Reserve(int64_t count) {
  while (static_cast<int64_t>(blocks_.size()) * kKvBlockTokens < length_ + count) {
    blocks_.push_back(pool_->Take());
    --promised_;
  }
}

void KvCache::Advance(absl::Span<const TokenId> tokens) {
  for (const TokenId token : tokens) {
    ++length_;
    if (!shares_) continue;
    open_tokens_.push_back(token);
    if (length_ % kKvBlockTokens != 0) continue;
    KvBlock* const full = blocks_[length_ / kKvBlockTokens - 1];
    behind_ = pool_->Publish(full, {behind_, std::exchange(open_tokens_, {})});
  }
}

void KvCache::WriteHidden(int64_t position, const at::Tensor& hidden) {
  ForEachBlock(blocks_, position, hidden,
               [](const at::Tensor& block, const at::Tensor& rows) { block.copy_(rows); });
}

void KvCache::ReadHidden(int64_t position, const at::Tensor& hidden) const {
  ForEachBlock(blocks_, position, hidden,
               [](const at::Tensor& block, const at::Tensor& rows) { rows.copy_(block); });
}

}  // namespace amend
