#include "core/model/llama.h"

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

std::string BlockName(int layer) { return absl::StrCat("model.layers.", layer, "."); }

std::string DownProjectionName(int layer) {
  return absl::StrCat(BlockName(layer), "mlp.down_proj");
}

struct LlamaBlock {
  RmsNorm1d attention_norm;
  Linear query_key_value;
  Linear attention_out;
  RmsNorm1d mlp_norm;
  Linear mlp_gate_up;
  Linear mlp_down;

  static constexpr std::array kProducts = {&LlamaBlock::query_key_value, &LlamaBlock::attention_out,
                                           &LlamaBlock::mlp_gate_up, &LlamaBlock::mlp_down};
  static constexpr std::array kNorms = {&LlamaBlock::attention_norm, &LlamaBlock::mlp_norm};
};

struct LlamaWeights {
  at::Tensor token_embedding;  // [vocabulary, d]
  std::vector<LlamaBlock> blocks;
  RmsNorm1d final_norm;
  Linear head;
  Rotary rotary;
};

class Llama : public BlockStack<Llama, LlamaWeights> {
 public:
  using BlockStack::BlockStack;

  AttentionInput Project(LayerIndex layer, const at::Tensor& hidden,
                         const at::Tensor& positions) const override {
    const LlamaBlock& block = BlockAt(layer);
    const int64_t h = config().heads;
    const int64_t g = config().kv_heads;
    const at::Tensor parts = block.query_key_value(block.attention_norm(hidden))
                                 .view({-1, h + 2 * g, config().head_dim});
    const at::Tensor rotated = weights().rotary(parts.narrow(1, 0, h + g), positions);
    return {rotated.narrow(1, 0, h), rotated.narrow(1, h, g), parts.narrow(1, h + g, g)};
  }

  at::Tensor Finish(LayerIndex layer, const at::Tensor& hidden, const at::Tensor& mixed,
                    const DownProjectionHook* hook) const override {
    const LlamaBlock& block = BlockAt(layer);
    const at::Tensor middle = block.attention_out.AddedTo(hidden, mixed);
    const at::Tensor key = Key(block, middle);
    return AddDownProjection(layer, middle, key, hook);
  }

  at::Tensor DownProjectionInput(LayerIndex layer, const at::Tensor& hidden,
                                 const at::Tensor& positions,
                                 AttentionContext& attention) const override {
    const LlamaBlock& block = BlockAt(layer);
    const AttentionInput input = Project(layer, hidden, positions);
    const at::Tensor mixed = attention.Attend(layer, input.query, input.key, input.value);
    return Key(block, block.attention_out.AddedTo(hidden, mixed));
  }

  StoredProjection StoredDownProjection(LayerIndex layer) const override {
    return {absl::StrCat(DownProjectionName(layer.value()), ".weight"), kLayout};
  }

 private:
  // What the down-projection reads. middle [T, d]: what the MLP goes on from.
  static at::Tensor Key(const LlamaBlock& block, const at::Tensor& middle) {
    return SiluGate(block.mlp_gate_up(block.mlp_norm(middle)));
  }
};

absl::StatusOr<LlamaBlock> ReadBlock(const WeightReader& reader, const ModelConfig& config,
                                     int layer) {
  const int64_t d = config.hidden_size;
  const int64_t m = config.intermediate_size;
  const int64_t queries = int64_t{config.heads} * config.head_dim;
  const int64_t keys = int64_t{config.kv_heads} * config.head_dim;
  const std::string prefix = BlockName(layer);
  LlamaBlock block;
  AMEND_ASSIGN_OR_RETURN(block.attention_norm,
                         reader.ReadRmsNorm(prefix + "input_layernorm", d, config.norm_epsilon));
  AMEND_ASSIGN_OR_RETURN(block.query_key_value,
                         reader.ReadFused({{prefix + "self_attn.q_proj", queries},
                                           {prefix + "self_attn.k_proj", keys},
                                           {prefix + "self_attn.v_proj", keys}},
                                          d, kLayout, config.query_key_value_bias));
  AMEND_ASSIGN_OR_RETURN(block.attention_out,
                         reader.ReadLinear(prefix + "self_attn.o_proj", queries, d, kLayout,
                                           config.attention_out_bias));
  AMEND_ASSIGN_OR_RETURN(block.mlp_norm, reader.ReadRmsNorm(prefix + "post_attention_layernorm", d,
                                                            config.norm_epsilon));
  AMEND_ASSIGN_OR_RETURN(block.mlp_gate_up, reader.ReadFused({{prefix + "mlp.gate_proj", m},
                                                              {prefix + "mlp.up_proj", m}},
                                                             d, kLayout, config.mlp_bias));
  AMEND_ASSIGN_OR_RETURN(
      block.mlp_down, reader.ReadLinear(DownProjectionName(layer), m, d, kLayout, config.mlp_bias));
  return block;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CausalLm>> LoadLlama(const ModelConfig& config,
                                                          const LoadOptions& options,
                                                          const Checkpoint& checkpoint) {
  const WeightReader reader(checkpoint, options);
  const int64_t d = config.hidden_size;
  LlamaWeights weights;
  AMEND_ASSIGN_OR_RETURN(weights.token_embedding,
                         reader.Read("model.embed_tokens.weight", {config.vocabulary_size, d}));
  for (int layer = 0; layer < config.layers; ++layer) {
    AMEND_ASSIGN_OR_RETURN(LlamaBlock block, ReadBlock(reader, config, layer));
    weights.blocks.push_back(std::move(block));
  }
  AMEND_ASSIGN_OR_RETURN(weights.final_norm,
                         reader.ReadRmsNorm("model.norm", d, config.norm_epsilon));
  AMEND_ASSIGN_OR_RETURN(weights.head, reader.ReadHead("lm_head", config, weights.token_embedding));
  weights.rotary = Rotary(config, Rotary::Pairs::kHalves, TorchDevice(options.device));
  return std::make_shared<const Llama>(config, options, std::move(weights));
}

}  // namespace amend
