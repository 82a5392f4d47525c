#include "core/generation/decoder.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/torch_status.h"
#include "core/model/attention.h"
#include "core/model/hook_point.h"
#include "core/model/packed_forward.h"
#include "core/model/torch_device.h"

namespace amend {

struct DecodeState::State {
  std::shared_ptr<const HookStack> hooks;
  bool trace_hooks = false;
  KvCache cache;
  std::vector<HookFiring> firings;
};

struct StepLogits::State {
  at::Tensor logits;  // [rows, vocabulary], float32, on the CPU
};

namespace {

// Applies to each row of a step the hooks of its own revision; neighbours of the same revision
// share one product.
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
    if (segments_.size() == 1) return ApplySegment(segments_[0], layer, input, output);
    std::vector<at::Tensor> outputs;
    outputs.reserve(segments_.size());
    int64_t start = 0;
    for (const Segment& segment : segments_) {
      outputs.push_back(ApplySegment(segment, layer, input.narrow(0, start, segment.tokens),
                                     output.narrow(0, start, segment.tokens)));
      start += segment.tokens;
    }
    return at::cat(outputs, 0);
  }

 private:
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
};

}  // namespace

DecodeState::DecodeState(std::unique_ptr<State> state) : state_(std::move(state)) {}
DecodeState::~DecodeState() = default;
int DecodeState::length() const { return static_cast<int>(state_->cache.length()); }
std::vector<HookFiring> DecodeState::TakeFirings() { return std::exchange(state_->firings, {}); }

StepLogits::StepLogits(std::unique_ptr<State> state) : state_(std::move(state)) {}
StepLogits::~StepLogits() = default;
StepLogits::StepLogits(StepLogits&&) noexcept = default;
StepLogits& StepLogits::operator=(StepLogits&&) noexcept = default;
absl::Span<const float> StepLogits::row(int i) const {
  const int64_t vocabulary = state_->logits.size(1);
  return absl::MakeConstSpan(state_->logits.const_data_ptr<float>() + i * vocabulary, vocabulary);
}

Decoder::Decoder(std::shared_ptr<const CausalLm> model) : model_(std::move(model)) {}

std::unique_ptr<DecodeState> Decoder::NewSequence(std::shared_ptr<const HookStack> hooks,
                                                  bool trace_hooks) const {
  const c10::InferenceMode inference;
  auto state = std::make_unique<DecodeState::State>(
      DecodeState::State{std::move(hooks),
                         trace_hooks,
                         KvCache(model_->config(), TorchDevice(*model_), TorchDtype(*model_)),
                         {}});
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
  for (const TokenId id : row.tokens) {
    if (id < 0 || id >= vocabulary) {
      return absl::InvalidArgumentError(
          absl::StrCat("token ", id, " is outside the vocabulary of ", vocabulary));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<StepLogits> Decoder::Step(absl::Span<const Row> rows) const {
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
      first_positions.push_back(state.cache.length());
      cached.push_back({&state.cache, count});
      const bool joins = !segments.empty() && !state.trace_hooks &&
                         segments.back().firings == nullptr &&
                         segments.back().hooks == state.hooks.get();
      if (joins) {
        segments.back().tokens += count;
      } else {
        segments.push_back({count, state.hooks.get(), state.trace_hooks ? &state.firings : nullptr,
                            state.cache.length()});
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
    for (const CachedAttention::Row& row : cached) row.cache->Advance(row.new_tokens);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return StepLogits(std::move(logits));
}

}  // namespace amend
