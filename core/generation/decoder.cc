#include "core/generation/decoder.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/torch_status.h"
#include "core/model/cached_attention.h"
#include "core/model/hook_point.h"
#include "core/model/kv_cache.h"
#include "core/model/packed_forward.h"
#include "core/model/torch_device.h"

namespace amend {

struct DecodeState::State {
  std::shared_ptr<const HookStack> hooks;
  bool trace_hooks = false;
  std::unique_ptr<KvCache> cache;
  std::vector<HookFiring> firings;
};

struct StepLogits::State {
  at::Tensor logits;  // [rows, vocabulary], float32, on the CPU
  HookUse hook_use;
};

namespace {

// Applies to each row of a step the hooks of its own revision; neighbours of one line share one
// pass over its edits.
class RowHooks : public DownProjectionHook {
 public:
  struct Segment {
    int64_t tokens = 0;
    const HookStack* hooks = nullptr;
    // Where firings go, for a traced row; null otherwise.
    std::vector<HookFiring>* firings = nullptr;
    // Position in its sequence of the segment's first token.
    int64_t first_position = 0;
  };

  explicit RowHooks(std::vector<Segment> segments) : segments_(std::move(segments)) {}

  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    at::Tensor result = ApplySegments(layer, input, output);
    MarkChanged(output, result);
    return result;
  }

  StepLogits::HookUse use() const {
    return {static_cast<int64_t>(changed_.size()),
            std::count(changed_.begin(), changed_.end(), true)};
  }

 private:
  at::Tensor ApplySegments(LayerIndex layer, const at::Tensor& input,
                           const at::Tensor& output) const {
    if (segments_.size() == 1) return ApplySegment(segments_[0], layer, input, output);
    std::vector<at::Tensor> outputs;
    outputs.reserve(segments_.size());
    int64_t start = 0;
    std::vector<HookStack::Run> runs;
    for (size_t i = 0; i < segments_.size();) {
      const int64_t tokens = TakeRuns(layer, &i, &runs);
      const at::Tensor from = input.narrow(0, start, tokens);
      const at::Tensor to = output.narrow(0, start, tokens);
      outputs.push_back(runs.size() > 1 ? HookStack::ApplyRuns(layer, runs, from, to)
                                        : ApplySegment(segments_[i - 1], layer, from, to));
      start += tokens;
    }
    return at::cat(outputs, 0);
  }

  // Where nothing fired a token's row is what it was, to the last bit.
  void MarkChanged(const at::Tensor& before, const at::Tensor& after) const {
    if (!after.is_cpu()) return;
    changed_.resize(after.size(0));
    if (after.is_same(before)) return;
    const at::Tensor from = before.contiguous();
    const at::Tensor to = after.contiguous();
    const size_t bytes = to.size(1) * to.element_size();
    const auto* old_row = static_cast<const char*>(from.const_data_ptr());
    const auto* new_row = static_cast<const char*>(to.const_data_ptr());
    for (size_t i = 0; i < changed_.size(); ++i, old_row += bytes, new_row += bytes) {
      if (!changed_[i]) changed_[i] = std::memcmp(old_row, new_row, bytes) != 0;
    }
  }

  // Fills `runs` with segment *i and those behind it that share its rows; moves *i behind them.
  // Returns their tokens.
  int64_t TakeRuns(LayerIndex layer, size_t* i, std::vector<HookStack::Run>* runs) const {
    const Segment& first = segments_[(*i)++];
    int64_t tokens = first.tokens;
    runs->assign({{first.hooks, first.tokens}});
    if (first.firings != nullptr) return tokens;
    for (; *i < segments_.size(); ++*i) {
      const Segment& next = segments_[*i];
      if (next.firings != nullptr || !HookStack::ShareRows(*first.hooks, *next.hooks, layer)) break;
      runs->push_back({next.hooks, next.tokens});
      tokens += next.tokens;
    }
    return tokens;
  }

  static at::Tensor ApplySegment(const Segment& segment, LayerIndex layer, const at::Tensor& input,
                                 const at::Tensor& output) {
    if (segment.firings == nullptr) return segment.hooks->Apply(layer, input, output);
    const size_t before = segment.firings->size();
    at::Tensor result = segment.hooks->ApplyTraced(layer, input, output, segment.firings);
    for (size_t i = before; i < segment.firings->size(); ++i) {
      (*segment.firings)[i].packed_row += segment.first_position;
    }
    return result;
  }

  const std::vector<Segment> segments_;
  // By token of the step, whether an edit fired at it.
  mutable std::vector<bool> changed_;
};

// Sequences for whose whole contexts there is room unless the options say otherwise.
constexpr int64_t kDefaultContexts = 64;

std::unique_ptr<KvPool> NewPool(const CausalLm& model, const Decoder::Options& options) {
  const ModelConfig& config = model.config();
  KvPool::Options pool;
  const int64_t bytes = options.kv_cache_bytes > 0
                            ? options.kv_cache_bytes
                            : kDefaultContexts * Decoder::ContextBytes(model);
  pool.max_blocks = bytes / KvPool::BlockBytes(config, TorchDtype(model));
  pool.share_prefixes = options.share_prefixes;
  return std::make_unique<KvPool>(config, TorchDevice(model), TorchDtype(model), pool);
}

}  // namespace

DecodeState::DecodeState(std::unique_ptr<State> state) : state_(std::move(state)) {}
DecodeState::~DecodeState() = default;
int DecodeState::length() const { return static_cast<int>(state_->cache->length()); }
bool DecodeState::Extend(int64_t tokens) { return state_->cache->Extend(tokens); }
std::vector<HookFiring> DecodeState::TakeFirings() { return std::exchange(state_->firings, {}); }

StepLogits::StepLogits(std::unique_ptr<State> state) : state_(std::move(state)) {}
StepLogits::~StepLogits() = default;
StepLogits::StepLogits(StepLogits&&) noexcept = default;
StepLogits& StepLogits::operator=(StepLogits&&) noexcept = default;
absl::Span<const float> StepLogits::row(int i) const {
  const int64_t vocabulary = state_->logits.size(1);
  return absl::MakeConstSpan(state_->logits.const_data_ptr<float>() + i * vocabulary, vocabulary);
}

StepLogits::HookUse StepLogits::hook_use() const { return state_->hook_use; }

Decoder::Decoder(std::shared_ptr<const CausalLm> model, const Options& options)
    : model_(std::move(model)), pool_(NewPool(*model_, options)) {}

Decoder::~Decoder() = default;

int64_t Decoder::BlockBytes(const ModelConfig& config, Dtype dtype) {
  return KvPool::BlockBytes(config, TorchDtype(dtype));
}

int64_t Decoder::ContextBytes(const CausalLm& model) {
  return KvPool::BlocksFor(model.config().context_length) *
         KvPool::BlockBytes(model.config(), TorchDtype(model));
}

int64_t Decoder::cache_capacity() const { return pool_->max_blocks() * kKvBlockTokens; }

Decoder::CacheUse Decoder::cache_use() const {
  return {pool_->claimed_blocks() * kKvBlockTokens, cache_capacity()};
}

std::unique_ptr<DecodeState> Decoder::NewSequence(std::shared_ptr<const HookStack> hooks,
                                                  const SequenceOptions& options) {
  KvCache::Options cache_options;
  cache_options.max_tokens =
      options.max_tokens > 0 ? options.max_tokens : model_->config().context_length;
  cache_options.initial_tokens = options.initial_tokens;
  if (!options.trace_hooks) {
    cache_options.computed_with = hooks;
    cache_options.prompt = options.prompt;
  }
  std::unique_ptr<KvCache> cache = KvCache::Create(pool_.get(), cache_options);
  if (cache == nullptr) return nullptr;
  auto state = std::make_unique<DecodeState::State>(
      DecodeState::State{std::move(hooks), options.trace_hooks, std::move(cache), {}});
  return std::unique_ptr<DecodeState>(new DecodeState(std::move(state)));
}

absl::Status Decoder::CheckRow(const Row& row) const {
  const int64_t length = row.state->length();
  const int64_t context = model_->config().context_length;
  const int vocabulary = model_->config().vocabulary_size;
  if (row.tokens.empty()) return absl::InvalidArgumentError("a row of a step has no tokens");
  if (length + static_cast<int64_t>(row.tokens.size()) > context) {
    return absl::InvalidArgumentError(absl::StrCat("a sequence of ", length, " tokens and ",
                                                   row.tokens.size(), " more pass the context of ",
                                                   context));
  }
  const int64_t room = row.state->state_->cache->room();
  if (length + static_cast<int64_t>(row.tokens.size()) > room) {
    return absl::InvalidArgumentError(absl::StrCat("a sequence of ", length, " tokens and ",
                                                   row.tokens.size(), " more pass the ", room,
                                                   " that it has room for"));
  }
  for (const TokenId id : row.tokens) {
    if (id < 0 || id >= vocabulary) {
      return absl::InvalidArgumentError(
          absl::StrCat("token ", id, " is outside the vocabulary of ", vocabulary));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<StepLogits> Decoder::Step(absl::Span<const Row> rows) {
  if (rows.empty()) return absl::InvalidArgumentError("a step has no rows");
  for (const Row& row : rows) {
    if (absl::Status status = CheckRow(row); !status.ok()) return status;
  }
  auto logits = std::make_unique<StepLogits::State>();
  const absl::Status status = CatchTorch("decoding", [&] {
    const c10::InferenceMode inference;
    const at::Device device = TorchDevice(*model_);
    std::vector<absl::Span<const TokenId>> tokens;
    std::vector<int64_t> first_positions, last_tokens;
    std::vector<CachedAttention::Row> cached;
    std::vector<RowHooks::Segment> segments;
    int64_t total = 0;
    for (const Row& row : rows) {
      DecodeState::State& state = *row.state->state_;
      const int64_t count = static_cast<int64_t>(row.tokens.size());
      tokens.push_back(row.tokens);
      first_positions.push_back(state.cache->length());
      cached.push_back({state.cache.get(), count});
      const bool joins = !segments.empty() && !state.trace_hooks &&
                         segments.back().firings == nullptr &&
                         segments.back().hooks == state.hooks.get();
      if (joins) {
        segments.back().tokens += count;
      } else {
        segments.push_back({count, state.hooks.get(), state.trace_hooks ? &state.firings : nullptr,
                            state.cache->length()});
      }
      total += count;
      last_tokens.push_back(total - 1);
    }
    const PackedTokens packed = PackTokens(tokens, first_positions, device);
    CachedAttention attention(cached, device);
    const RowHooks hooks(std::move(segments));
    const at::Tensor hidden =
        RunBlocks(*model_, 0, model_->config().layers, model_->Embed(packed.ids, packed.positions),
                  packed.positions, attention, &hooks);
    logits->logits = model_->Head(hidden.index_select(0, IndexTensor(last_tokens, device)))
                         .to(at::kCPU)
                         .contiguous();
    logits->hook_use = hooks.use();
    for (const Row& row : rows) row.state->state_->cache->Advance(row.tokens);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return StepLogits(std::move(logits));
}

}  // namespace amend
