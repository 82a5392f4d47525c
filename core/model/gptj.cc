#include "core/model/gptj.h"

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

std::string DownProjectionName(int layer) {
  return absl::StrCat("transformer.h.", layer, ".mlp.fc_out");
}

struct GptjBlock {
  LayerNorm1d norm;
  Linear query_key_value;
  Linear attention_out;
  Linear mlp_up;
  Linear mlp_down;

  static constexpr std::array kProducts = {&GptjBlock::query_key_value, &GptjBlock::attention_out,
                                           &GptjBlock::mlp_up, &GptjBlock::mlp_down};
  static constexpr std::array kNorms = {&GptjBlock::norm};
};

struct GptjWeights {
  at::Tensor token_embedding;  // [vocabulary, d]
  std::vector<GptjBlock> blocks;
  LayerNorm1d final_norm;
  Linear head;
  Rotary rotary;
};

class Gptj : public BlockStack<Gptj, GptjWeights> {
 public:
  using BlockStack::BlockStack;

  AttentionInput Project(LayerIndex layer, const at::Tensor& hidden,
                         const at::Tensor& positions) const override {
    const GptjBlock& block = BlockAt(layer);
    const std::vector<at::Tensor> parts = block.query_key_value(block.norm(hidden))
                                              .view({-1, 3, config().heads, config().head_dim})
                                              .unbind(1);
    return {weights().rotary(parts[0], positions), weights().rotary(parts[1], positions), parts[2]};
  }

  at::Tensor Finish(LayerIndex layer, const at::Tensor& hidden, const at::Tensor& mixed,
                    const DownProjectionHook* hook) const override {
    const GptjBlock& block = BlockAt(layer);
    const at::Tensor attended = block.attention_out.AddedTo(hidden, mixed);
    const at::Tensor key = block.mlp_up.Then(Activation::kGeluNew, block.norm(hidden));
    return AddDownProjection(layer, attended, key, hook);
  }

  // The MLP stands beside the attention: it needs nothing of it.
  at::Tensor DownProjectionInput(LayerIndex layer, const at::Tensor& hidden, const at::Tensor&,
                                 AttentionContext&) const override {
    const GptjBlock& block = BlockAt(layer);
    return block.mlp_up.Then(Activation::kGeluNew, block.norm(hidden));
  }

  StoredProjection StoredDownProjection(LayerIndex layer) const override {
    return {absl::StrCat(DownProjectionName(layer.value()), ".weight"), kLayout};
  }
};

absl::StatusOr<GptjBlock> ReadBlock(const WeightReader& reader, const ModelConfig& config,
                                    int layer) {
  const int64_t d = config.hidden_size;
  const int64_t m = config.intermediate_size;
  const std::string prefix = absl::StrCat("transformer.h.", layer, ".");
  GptjBlock block;
  AMEND_ASSIGN_OR_RETURN(block.norm, reader.ReadLayerNorm(prefix + "ln_1", d, config.norm_epsilon));
  AMEND_ASSIGN_OR_RETURN(block.query_key_value, reader.ReadFused({{prefix + "attn.q_proj", d},
                                                                  {prefix + "attn.k_proj", d},
                                                                  {prefix + "attn.v_proj", d}},
                                                                 d, kLayout, false));
  AMEND_ASSIGN_OR_RETURN(block.attention_out,
                         reader.ReadLinear(prefix + "attn.out_proj", d, d, kLayout, false));
  AMEND_ASSIGN_OR_RETURN(block.mlp_up, reader.ReadLinear(prefix + "mlp.fc_in", d, m, kLayout));
  AMEND_ASSIGN_OR_RETURN(block.mlp_down,
                         reader.ReadLinear(DownProjectionName(layer), m, d, kLayout));
  return block;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CausalLm>> LoadGptj(const ModelConfig& config,
                                                         const LoadOptions& options,
                                                         const Checkpoint& checkpoint) {
  const WeightReader reader(checkpoint, options);
  const int64_t d = config.hidden_size;
  GptjWeights weights;
  AMEND_ASSIGN_OR_RETURN(weights.token_embedding,
                         reader.Read("transformer.wte.weight", {config.vocabulary_size, d}));
  for (int layer = 0; layer < config.layers; ++layer) {
    AMEND_ASSIGN_OR_RETURN(GptjBlock block, ReadBlock(reader, config, layer));
    weights.blocks.push_back(std::move(block));
  }
  AMEND_ASSIGN_OR_RETURN(weights.final_norm,
                         reader.ReadLayerNorm("transformer.ln_f", d, config.norm_epsilon));
  AMEND_ASSIGN_OR_RETURN(weights.head, reader.ReadLinear("lm_head", d, config.vocabulary_size,
                                                         ProjectionLayout::kOutIn));
  weights.rotary = Rotary(config, Rotary::Pairs::kNeighbours, TorchDevice(options.device));
  return std::make_shared<const Gptj>(config, options, std::move(weights));
}

}  // namespace amend
