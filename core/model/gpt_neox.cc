#include "core/model/gpt_neox.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/attention.h"
#include "core/model/block_stack.h"
#include "core/model/hook_point.h"
#include "core/model/layers.h"
#include "core/model/rotary.h"
#include "core/model/torch_device.h"

namespace amend {
namespace {

constexpr ProjectionLayout kLayout = ProjectionLayout::kOutIn;

std::string BlockName(int layer) { return absl::StrCat("gpt_neox.layers.", layer, "."); }

std::string DownProjectionName(int layer) {
  return absl::StrCat(BlockName(layer), "mlp.dense_4h_to_h");
}

struct GptNeoxBlock {
  LayerNorm1d attention_norm;
  // Queries of all heads, keys of all heads, values of all heads.
  Linear query_key_value;
  Linear attention_out;
  LayerNorm1d mlp_norm;
  Linear mlp_up;
  Linear mlp_down;

  static constexpr std::array kProducts = {&GptNeoxBlock::query_key_value,
                                           &GptNeoxBlock::attention_out, &GptNeoxBlock::mlp_up,
                                           &GptNeoxBlock::mlp_down};
  static constexpr std::array kNorms = {&GptNeoxBlock::attention_norm, &GptNeoxBlock::mlp_norm};
};

struct GptNeoxWeights {
  at::Tensor token_embedding;  // [vocabulary, d]
  std::vector<GptNeoxBlock> blocks;
  LayerNorm1d final_norm;
  Linear head;
  Rotary rotary;
};

class GptNeox : public BlockStack<GptNeox, GptNeoxWeights> {
 public:
  using BlockStack::BlockStack;

  AttentionInput Project(LayerIndex layer, const at::Tensor& hidden,
                         const at::Tensor& positions) const override {
    const GptNeoxBlock& block = BlockAt(layer);
    const int64_t h = config().heads;
    const at::Tensor parts =
        block.query_key_value(block.attention_norm(hidden)).view({-1, 3 * h, config().head_dim});
    const at::Tensor rotated = weights().rotary(parts.narrow(1, 0, 2 * h), positions);
    return {rotated.narrow(1, 0, h), rotated.narrow(1, h, h), parts.narrow(1, 2 * h, h)};
  }

  at::Tensor Finish(LayerIndex layer, const at::Tensor& hidden, const at::Tensor& mixed,
                    const DownProjectionHook* hook) const override {
    const GptNeoxBlock& block = BlockAt(layer);
    const at::Tensor middle = block.attention_out.AddedTo(hidden, mixed);
    const at::Tensor key = Key(block, config().parallel_residual ? hidden : middle);
    return AddDownProjection(layer, middle, key, hook);
  }

  at::Tensor DownProjectionInput(LayerIndex layer, const at::Tensor& hidden,
                                 const at::Tensor& positions,
                                 AttentionContext& attention) const override {
    const GptNeoxBlock& block = BlockAt(layer);
    // An MLP beside the attention needs nothing of it.
    if (config().parallel_residual) return Key(block, hidden);
    const AttentionInput input = Project(layer, hidden, positions);
    const at::Tensor mixed = attention.Attend(layer, input.query, input.key, input.value);
    return Key(block, block.attention_out.AddedTo(hidden, mixed));
  }

  StoredProjection StoredDownProjection(LayerIndex layer) const override {
    return {absl::StrCat(DownProjectionName(layer.value()), ".weight"), kLayout};
  }

 private:
  // What the down-projection reads. input [T, d]: what the MLP reads, before its norm.
  at::Tensor Key(const GptNeoxBlock& block, const at::Tensor& input) const {
    return block.mlp_up.Then(config().activation, block.mlp_norm(input));
  }
};

// From query, key and value of each head in turn to all queries, all keys, all values. x
// [h * 3 * e, ...].
at::Tensor Regroup(const at::Tensor& x, const ModelConfig& config) {
  return x.view({config.heads, 3, config.head_dim, -1}).transpose(0, 1).reshape(x.sizes());
}

absl::StatusOr<GptNeoxBlock> ReadBlock(const WeightReader& reader, const ModelConfig& config,
                                       int layer) {
  const int64_t d = config.hidden_size;
  const int64_t m = config.intermediate_size;
  const int64_t heads = int64_t{config.heads} * config.head_dim;
  const double epsilon = config.norm_epsilon;
  const bool bias = config.query_key_value_bias;
  const std::string prefix = BlockName(layer);
  GptNeoxBlock block;
  AMEND_ASSIGN_OR_RETURN(block.attention_norm,
                         reader.ReadLayerNorm(prefix + "input_layernorm", d, epsilon));
  AMEND_ASSIGN_OR_RETURN(
      block.query_key_value,
      reader.ReadLinear(prefix + "attention.query_key_value", d, 3 * heads, kLayout, bias));
  block.query_key_value.weight = Regroup(block.query_key_value.weight, config);
  if (bias) block.query_key_value.bias = Regroup(block.query_key_value.bias, config);
  AMEND_ASSIGN_OR_RETURN(
      block.attention_out,
      reader.ReadLinear(prefix + "attention.dense", heads, d, kLayout, config.attention_out_bias));
  AMEND_ASSIGN_OR_RETURN(block.mlp_norm,
                         reader.ReadLayerNorm(prefix + "post_attention_layernorm", d, epsilon));
  AMEND_ASSIGN_OR_RETURN(block.mlp_up,
                         reader.ReadLinear(prefix + "mlp.dense_h_to_4h", d, m, kLayout));
  AMEND_ASSIGN_OR_RETURN(block.mlp_down,
                         reader.ReadLinear(DownProjectionName(layer), m, d, kLayout));
  return block;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CausalLm>> LoadGptNeox(const ModelConfig& config,
                                                            const LoadOptions& options,
                                                            const Checkpoint& checkpoint) {
  const WeightReader reader(checkpoint, options);
  const int64_t d = config.hidden_size;
  GptNeoxWeights weights;
  AMEND_ASSIGN_OR_RETURN(weights.token_embedding,
                         reader.Read("gpt_neox.embed_in.weight", {config.vocabulary_size, d}));
  for (int layer = 0; layer < config.layers; ++layer) {
    AMEND_ASSIGN_OR_RETURN(GptNeoxBlock block, ReadBlock(reader, config, layer));
    weights.blocks.push_back(std::move(block));
  }
  AMEND_ASSIGN_OR_RETURN(weights.final_norm,
                         reader.ReadLayerNorm("gpt_neox.final_layer_norm", d, config.norm_epsilon));
  AMEND_ASSIGN_OR_RETURN(weights.head,
                         reader.ReadHead("embed_out", config, weights.token_embedding));
  weights.rotary = Rotary(config, Rotary::Pairs::kHalves, TorchDevice(options.device));
  return std::make_shared<const GptNeox>(config, options, std::move(weights));
}

}  // namespace amend
