#include "core/generation/decoder.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/torch_status.h"
#include "core/generation/graph_recorder.h"
#include "core/generation/step_graphs.h"
#include "core/model/cached_attention.h"
#include "core/model/hook_point.h"
#include "core/model/kv_cache.h"
#include "core/model/packed_forward.h"
#include "core/model/torch_device.h"

namespace amend {

struct DecodeState::State {
  std::shared_ptr<const HookStack> hooks;
  bool trace_hooks = false;
  // Of the layers below the first edited one; null where there are none.
  std::unique_ptr<KvCache> lower;
  std::unique_ptr<KvCache> upper;
  std::vector<HookFiring> firings;

  const KvCache& lowest() const { return lower == nullptr ? *upper : *lower; }
};

struct StepLogits::State {
  at::Tensor logits;  // [rows, vocabulary], float32, on the CPU
  HookUse hook_use;
};

namespace {

// Applies to each row of a step the hooks of its own revision; neighbours of one line share one
// pass over its edits. For layers that see the same tokens.
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
    at::Tensor result = HasEdits(layer) ? ApplySegments(layer, input, output) : output;
    MarkChanged(output, result);
    return result;
  }

  // Whether a token of the step gets edits at `layer`.
  bool HasEdits(LayerIndex layer) const {
    return std::any_of(segments_.begin(), segments_.end(),
                       [&](const Segment& segment) { return segment.hooks->HasEditsAt(layer); });
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

KvLayers LowerLayers(LayerIndex first_edited_layer) {
  return {LayerIndex(0), first_edited_layer, /*with_hidden=*/true};
}
KvLayers UpperLayers(const ModelConfig& config, LayerIndex first_edited_layer) {
  return {first_edited_layer, LayerIndex(config.layers), /*with_hidden=*/false};
}

// Null where there are no layers. Pools of all layers together have as many blocks each as the
// bytes are enough for.
std::unique_ptr<KvPool> NewPool(const CausalLm& model, const KvLayers& layers,
                                const Decoder::Options& options) {
  if (layers.begin == layers.end) return nullptr;
  const ModelConfig& config = model.config();
  const LayerIndex first = options.first_edited_layer;
  const int64_t bytes = options.kv_cache_bytes > 0
                            ? options.kv_cache_bytes
                            : kDefaultContexts * Decoder::ContextBytes(model, first);
  KvPool::Options pool;
  pool.max_blocks = bytes / Decoder::BlockBytes(config, model.load_options().dtype, first);
  pool.share_prefixes = options.share_prefixes;
  return std::make_unique<KvPool>(config, layers, TorchDevice(model), TorchDtype(model), pool);
}

// A row of a step.
struct StepRow {
  absl::Span<const TokenId> tokens;
  const HookStack* hooks = nullptr;
  // Where firings go, for a traced row; null otherwise.
  std::vector<HookFiring>* firings = nullptr;
  KvCache* lower = nullptr;
  KvCache* upper = nullptr;
  // So many of the tokens have been through the lower layers: what these gave is in the blocks.
  int64_t found = 0;

  int64_t count() const { return static_cast<int64_t>(tokens.size()); }
};

// Tokens of rows of a step, one row behind the other, that run through the layers of one of their
// caches.
class Part {
 public:
  void Add(const StepRow& row, KvCache* cache, absl::Span<const TokenId> tokens) {
    const auto count = static_cast<int64_t>(tokens.size());
    tokens_.push_back(tokens);
    first_positions_.push_back(cache->length());
    cached_.push_back({cache, count});
    const bool joins = !segments_.empty() && row.firings == nullptr &&
                       segments_.back().firings == nullptr && segments_.back().hooks == row.hooks;
    if (joins) {
      segments_.back().tokens += count;
    } else {
      segments_.push_back({count, row.hooks, row.firings, cache->length()});
    }
  }

  bool empty() const { return tokens_.empty(); }
  PackedTokens Pack(at::Device device) const {
    return PackTokens(tokens_, first_positions_, device);
  }
  CachedAttention Attention(at::Device device) const { return CachedAttention(cached_, device); }
  RowHooks Hooks() const { return RowHooks(segments_); }

 private:
  std::vector<absl::Span<const TokenId>> tokens_;
  std::vector<int64_t> first_positions_;
  std::vector<CachedAttention::Row> cached_;
  std::vector<RowHooks::Segment> segments_;
};

// The hidden states of all tokens of a step, [T, d]: of those that ran through the lower layers,
// `ran` [<= T, d], which it leaves in the blocks too, and of those whose are there already.
at::Tensor JoinHidden(absl::Span<const StepRow> rows, const at::Tensor& ran) {
  int64_t total = 0;
  for (const StepRow& row : rows) total += row.count();
  const bool all_ran = ran.size(0) == total;
  const at::Tensor joined = all_ran ? ran : at::empty({total, ran.size(1)}, ran.options());
  int64_t start = 0;
  int64_t ran_start = 0;
  for (const StepRow& row : rows) {
    row.lower->ReadHidden(row.upper->length(), joined.narrow(0, start, row.found));
    const int64_t rest = row.count() - row.found;
    const at::Tensor fresh = ran.narrow(0, ran_start, rest);
    row.lower->WriteHidden(row.lower->length(), fresh);
    if (!all_ran) joined.narrow(0, start + row.found, rest).copy_(fresh);
    start += row.count();
    ran_start += rest;
  }
  return joined;
}

// What the layers below `end` give for all tokens of a step, [T, d].
at::Tensor RunLower(const CausalLm& model, LayerIndex end, absl::Span<const StepRow> rows) {
  const at::Device device = TorchDevice(model);
  Part part;
  for (const StepRow& row : rows) {
    if (row.found < row.count()) part.Add(row, row.lower, row.tokens.subspan(row.found));
  }
  at::Tensor ran = at::empty({0, model.config().hidden_size},
                             at::TensorOptions().dtype(TorchDtype(model)).device(device));
  if (!part.empty()) {
    const PackedTokens packed = part.Pack(device);
    CachedAttention attention = part.Attention(device);
    const RowHooks hooks = part.Hooks();
    ran = RunBlocks(model, 0, end.value(), model.Embed(packed.ids, packed.positions),
                    packed.positions, attention, &hooks);
  }
  return JoinHidden(rows, ran);
}

std::unique_ptr<StepGraphs> NewGraphs(const std::shared_ptr<const CausalLm>& model,
                                      const Decoder::Options& options) {
  if (options.graph_recorder == nullptr) return nullptr;
  return std::make_unique<StepGraphs>(model, options.graph_recorder);
}

// Whether each row has one token, which runs through all layers.
bool FitGraphs(absl::Span<const StepRow> rows) {
  return rows.size() <= StepGraphs::kMaxRows &&
         std::all_of(rows.begin(), rows.end(),
                     [](const StepRow& row) { return row.count() == 1 && row.found == 0; });
}

// Attention over both caches of rows that run the same tokens through all layers.
class WholeAttention : public AttentionContext {
 public:
  // The lower layers are those below `first_upper`, if any.
  WholeAttention(LayerIndex first_upper, CachedAttention lower, CachedAttention* upper)
      : first_upper_(first_upper), lower_(std::move(lower)), upper_(upper) {}

  at::Tensor Attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                    const at::Tensor& value) override {
    return (layer < first_upper_ ? lower_ : *upper_).Attend(layer, query, key, value);
  }

 private:
  const LayerIndex first_upper_;
  CachedAttention lower_;
  CachedAttention* const upper_;
};

// Logits [rows, vocabulary] of rows that FitGraphs.
at::Tensor RunGraphs(StepGraphs& graphs, LayerIndex first_upper, absl::Span<const StepRow> rows,
                     const PackedTokens& packed, CachedAttention* upper, const RowHooks& hooks) {
  Part lower;
  for (const StepRow& row : rows) {
    if (row.lower != nullptr) lower.Add(row, row.lower, row.tokens);
  }
  WholeAttention attention(first_upper, lower.Attention(packed.ids.device()), upper);
  return graphs.Run(
      packed, attention, hooks, [&](LayerIndex layer) { return hooks.HasEdits(layer); },
      [&](LayerIndex layer, const at::Tensor& hidden) {
        if (layer == first_upper && !lower.empty()) JoinHidden(rows, hidden);
      });
}

}  // namespace

DecodeState::DecodeState(std::unique_ptr<State> state) : state_(std::move(state)) {}
DecodeState::~DecodeState() = default;
int DecodeState::length() const { return static_cast<int>(state_->upper->length()); }
int DecodeState::lower_length() const { return static_cast<int>(state_->lowest().length()); }
bool DecodeState::Extend(int64_t tokens) {
  // Both parts or none.
  if (state_->lower != nullptr && !state_->lower->CanExtend(tokens)) return false;
  return state_->upper->Extend(tokens) &&
         (state_->lower == nullptr || state_->lower->Extend(tokens));
}
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
    : model_(std::move(model)),
      first_edited_layer_(options.first_edited_layer),
      lower_pool_(NewPool(*model_, LowerLayers(first_edited_layer_), options)),
      upper_pool_(NewPool(*model_, UpperLayers(model_->config(), first_edited_layer_), options)),
      graphs_(NewGraphs(model_, options)) {}

Decoder::~Decoder() = default;

int64_t Decoder::BlockBytes(const ModelConfig& config, Dtype dtype, LayerIndex first_edited_layer) {
  const int64_t upper =
      KvPool::BlockBytes(config, UpperLayers(config, first_edited_layer), TorchDtype(dtype));
  if (first_edited_layer == LayerIndex(0)) return upper;
  return upper + KvPool::BlockBytes(config, LowerLayers(first_edited_layer), TorchDtype(dtype));
}

int64_t Decoder::ContextBytes(const CausalLm& model, LayerIndex first_edited_layer) {
  return KvPool::BlocksFor(model.config().context_length) *
         BlockBytes(model.config(), model.load_options().dtype, first_edited_layer);
}

int64_t Decoder::cache_capacity() const { return upper_pool_->max_blocks() * kKvBlockTokens; }

Decoder::CacheUse Decoder::cache_use() const {
  int64_t claimed = upper_pool_->claimed_blocks();
  if (lower_pool_ != nullptr) claimed = std::max(claimed, lower_pool_->claimed_blocks());
  return {claimed * kKvBlockTokens, cache_capacity()};
}

std::unique_ptr<DecodeState> Decoder::NewSequence(std::shared_ptr<const HookStack> hooks,
                                                  const SequenceOptions& options) {
  auto state = std::make_unique<DecodeState::State>();
  state->trace_hooks = options.trace_hooks;
  KvCache::Options cache_options;
  cache_options.max_tokens =
      options.max_tokens > 0 ? options.max_tokens : model_->config().context_length;
  cache_options.initial_tokens = options.initial_tokens;
  // The last token has to run through the upper layers: its logits are asked for.
  auto shared = static_cast<int64_t>(options.prompt.size()) - 1;
  if (lower_pool_ != nullptr) {
    cache_options.computed_with = model_;
    if (hooks->EditsBelow(first_edited_layer_)) {
      cache_options.computed_with = options.trace_hooks ? nullptr : hooks;
    }
    cache_options.prompt = options.prompt;
    state->lower = KvCache::Create(lower_pool_.get(), cache_options);
    if (state->lower == nullptr) return nullptr;
    shared = std::min(shared, state->lower->length());
  }
  cache_options.computed_with = options.trace_hooks ? nullptr : hooks;
  cache_options.prompt = options.prompt.subspan(0, std::max<int64_t>(shared, 0));
  state->upper = KvCache::Create(upper_pool_.get(), cache_options);
  if (state->upper == nullptr) return nullptr;
  state->hooks = std::move(hooks);
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
  const int64_t room = row.state->state_->upper->room();
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
    std::vector<StepRow> step_rows;
    std::vector<int64_t> last_tokens;
    Part part;
    int64_t total = 0;
    for (const Row& row : rows) {
      DecodeState::State& state = *row.state->state_;
      StepRow step_row{
          row.tokens,        state.hooks.get(), state.trace_hooks ? &state.firings : nullptr,
          state.lower.get(), state.upper.get(), 0};
      step_row.found = std::min(step_row.count(), state.lowest().length() - state.upper->length());
      part.Add(step_row, state.upper.get(), row.tokens);
      step_rows.push_back(step_row);
      total += step_row.count();
      last_tokens.push_back(total - 1);
    }
    const PackedTokens packed = part.Pack(device);
    CachedAttention attention = part.Attention(device);
    const RowHooks hooks = part.Hooks();
    if (graphs_ != nullptr && FitGraphs(step_rows)) {
      logits->logits =
          RunGraphs(*graphs_, first_edited_layer_, step_rows, packed, &attention, hooks);
    } else {
      at::Tensor hidden = lower_pool_ == nullptr
                              ? model_->Embed(packed.ids, packed.positions)
                              : RunLower(*model_, first_edited_layer_, step_rows);
      hidden = RunBlocks(*model_, first_edited_layer_.value(), model_->config().layers, hidden,
                         packed.positions, attention, &hooks);
      logits->logits = model_->Head(hidden.index_select(0, IndexTensor(last_tokens, device)))
                           .to(at::kCPU)
                           .contiguous();
    }
    logits->hook_use = hooks.use();
    for (const StepRow& row : step_rows) {
      if (row.lower != nullptr) row.lower->Advance(row.tokens.subspan(row.found));
      row.upper->Advance(row.tokens);
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return StepLogits(std::move(logits));
}

}  // namespace amend
