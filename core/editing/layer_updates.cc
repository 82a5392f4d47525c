#include "core/editing/layer_updates.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <chrono>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/attention.h"
#include "core/model/hook_point.h"
#include "core/model/packed_forward.h"
#include "core/model/torch_device.h"

namespace amend {
namespace {

// The hooks while a batch is being solved: the parent's, and the batch's own edits at the layers
// that have been updated, all where they fire. Can also keep what one layer's projection reads.
class SolvingHooks : public DownProjectionHook {
 public:
  explicit SolvingHooks(const HookStack& parent) : parent_(parent) {}

  void SetUpdated(LayerIndex layer, StackedFactors own) { updated_[layer] = std::move(own); }
  // `input` [T, d_in] receives the input of `layer` at the next forward; null stops it.
  void Capture(LayerIndex layer, at::Tensor* input) {
    captured_layer_ = layer;
    captured_ = input;
  }

  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    if (captured_ != nullptr && layer == captured_layer_) *captured_ = input;
    const auto it = updated_.find(layer);
    if (it == updated_.end()) return parent_.Apply(layer, input, output);
    // In float32 until all is added.
    const at::Tensor before = parent_.Apply(layer, input, output.to(at::kFloat));
    return ApplyFactors(it->second, input, before).output.to(output.scalar_type());
  }

 private:
  const HookStack& parent_;
  std::map<LayerIndex, StackedFactors> updated_;
  LayerIndex captured_layer_;
  at::Tensor* captured_ = nullptr;
};

// The prompts of a batch, each cut behind its lookup index, and their hidden states as the layer
// loop walks upwards.
class LayerWalk {
 public:
  LayerWalk(const CausalLm& model, absl::Span<const EditRows> edits)
      : model_(model), device_(TorchDevice(model)) {
    std::vector<absl::Span<const TokenId>> rows;
    std::vector<int64_t> plain_rows, plain_tokens;
    int64_t start = 0;
    for (const EditRows& edit : edits) {
      for (size_t t = 0; t < edit.prompts.size(); ++t) {
        const int64_t length = edit.prompts[t].lookup + 1;
        rows.push_back(absl::MakeConstSpan(edit.prompts[t].tokens).first(length));
        last_tokens_.push_back(start + length - 1);
        if (t == 0) {
          plain_lengths_.push_back(length);
          for (int64_t i = 0; i < length; ++i) plain_tokens.push_back(start + i);
        }
        start += length;
      }
    }
    packed_ = PackTokens(rows, {}, device_);
    plain_tokens_ = IndexTensor(plain_tokens, device_);
    plain_positions_ = packed_.positions.index_select(0, plain_tokens_);
    hidden_ = model.Embed(packed_.ids, packed_.positions);
    edits_ = static_cast<int64_t>(edits.size());
    templates_ = static_cast<int64_t>(edits[0].prompts.size());
  }

  // Moves the hidden states to the input of block `layer`.
  void AdvanceTo(int layer, const DownProjectionHook& hooks) {
    PackedAttention attention(packed_.lengths, device_);
    hidden_ = RunBlocks(model_, layer_, layer, hidden_, packed_.positions, attention, &hooks);
    layer_ = layer;
  }

  // Keys [B, d_in] of the block that comes next, and the output of block `last` at the lookup index
  // of the plain rows [B, d].
  std::pair<at::Tensor, at::Tensor> KeysAndCurrent(int last, SolvingHooks* hooks) const {
    at::Tensor input;
    PackedAttention attention(packed_.lengths, device_);
    hooks->Capture(LayerIndex(layer_), &input);
    const at::Tensor next =
        RunBlocks(model_, layer_, layer_ + 1, hidden_, packed_.positions, attention, hooks);
    hooks->Capture(LayerIndex(layer_), nullptr);
    PackedAttention plain_attention(plain_lengths_, device_);
    const at::Tensor top =
        RunBlocks(model_, layer_ + 1, last + 1, next.index_select(0, plain_tokens_),
                  plain_positions_, plain_attention, hooks);
    std::vector<int64_t> plain_last;
    int64_t end = 0;
    for (const int64_t length : plain_lengths_) plain_last.push_back((end += length) - 1);
    return {MixTemplates(input.index_select(0, IndexTensor(last_tokens_, device_)).to(at::kFloat)),
            top.index_select(0, IndexTensor(plain_last, device_)).to(at::kFloat)};
  }

 private:
  // Half the plain template, half the mean of the prefixed ones. [B * templates, d_in] -> [B,
  // d_in].
  at::Tensor MixTemplates(const at::Tensor& keys) const {
    const at::Tensor grouped = keys.view({edits_, templates_, -1});
    const at::Tensor plain = grouped.select(1, 0);
    if (templates_ == 1) return plain;
    return 0.5 * plain + 0.5 * grouped.narrow(1, 1, templates_ - 1).mean({1});
  }

  const CausalLm& model_;
  const at::Device device_;
  PackedTokens packed_;
  std::vector<int64_t> last_tokens_;
  std::vector<int64_t> plain_lengths_;
  at::Tensor plain_tokens_;
  at::Tensor plain_positions_;
  at::Tensor hidden_;  // [T, d]: input of block `layer_`
  int layer_ = 0;
  int64_t edits_ = 0;
  int64_t templates_ = 0;
};

}  // namespace

absl::StatusOr<std::map<LayerIndex, LayerUpdate>> SolveLayers(
    const CausalLm& model, const HookStack& parent, const EditSettings& settings,
    absl::Span<const EditRows> edits, const at::Tensor& target_values, LineLayers* line,
    const std::function<bool(int done, int total)>& after_layer) {
  const at::NoGradGuard no_grad;
  const int layers = static_cast<int>(settings.layers.size());
  const int last = settings.layers.back().value();
  SolvingHooks hooks(parent);
  std::map<LayerIndex, LayerUpdate> updates;
  LayerWalk walk(model, edits);
  for (int i = 0; i < layers; ++i) {
    const LayerIndex layer = settings.layers[i];
    const auto start = std::chrono::steady_clock::now();
    walk.AdvanceTo(layer.value(), hooks);
    LayerUpdate update;
    std::tie(update.keys, update.current) = walk.KeysAndCurrent(last, &hooks);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    update.key_seconds = spent.count();
    AMEND_ASSIGN_OR_RETURN(const at::Tensor v, line->at(layer).Solve(update.keys));
    update.v = v.to(at::kFloat);
    update.activations = (v * update.keys.to(at::kDouble)).sum(1).to(at::kFloat);
    const at::Tensor residuals = (target_values - update.current) / static_cast<double>(layers - i);
    update.u = residuals / update.activations.unsqueeze(1);
    hooks.SetUpdated(layer, {update.u, update.v, update.activations * settings.beta});
    updates[layer] = std::move(update);
    if (!after_layer(i + 1, layers)) return absl::CancelledError("solving was cancelled");
  }
  return updates;
}

absl::StatusOr<std::map<LayerIndex, LayerUpdate>> SolveLayers(
    const CausalLm& model, const HookStack& parent, const EditSettings& settings,
    absl::Span<const EditRows> edits, const at::Tensor& target_values,
    const std::map<LayerIndex, at::Tensor>& covariances,
    const std::function<bool(int done, int total)>& after_layer) {
  LineLayers line;
  for (const auto& [layer, covariance] : covariances) {
    AMEND_ASSIGN_OR_RETURN(auto factor, CholeskyFactor::Of(covariance));
    line.emplace(layer, KeySolver(std::move(factor)));
  }
  return SolveLayers(model, parent, settings, edits, target_values, &line, after_layer);
}

}  // namespace amend
