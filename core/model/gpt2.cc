#include "core/model/gpt2.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>

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

namespace amend {
namespace {

constexpr ProjectionLayout kLayout = ProjectionLayout::kInOut;

std::string DownProjectionName(int layer) {
  return absl::StrCat("transformer.h.", layer, ".mlp.c_proj");
}

struct Gpt2Block {
  LayerNorm1d attention_norm;
  Linear query_key_value;
  Linear attention_out;
  LayerNorm1d mlp_norm;
  Linear mlp_up;
  Linear mlp_down;

  static constexpr std::array kProducts = {&Gpt2Block::query_key_value, &Gpt2Block::attention_out,
                                           &Gpt2Block::mlp_up, &Gpt2Block::mlp_down};
  static constexpr std::array kNorms = {&Gpt2Block::attention_norm, &Gpt2Block::mlp_norm};
};

struct Gpt2Weights {
  at::Tensor token_embedding;     // [vocabulary, d]
  at::Tensor position_embedding;  // [context, d]
  std::vector<Gpt2Block> blocks;
  LayerNorm1d final_norm;
  Linear head;  // tied to the token embedding
};

class Gpt2 : public BlockStack<Gpt2, Gpt2Weights> {
 public:
  using BlockStack::BlockStack;

  at::Tensor Embed(const at::Tensor& ids, const at::Tensor& positions) const override {
    return BlockStack::Embed(ids, positions) +
           at::embedding(weights().position_embedding, positions);
  }

  AttentionInput Project(LayerIndex layer, const at::Tensor& hidden,
                         const at::Tensor&) const override {
    const Gpt2Block& block = BlockAt(layer);
    const std::vector<at::Tensor> parts = block.query_key_value(block.attention_norm(hidden))
                                              .view({-1, 3, config().heads, config().head_dim})
                                              .unbind(1);
    return {parts[0], parts[1], parts[2]};
  }

  at::Tensor Finish(LayerIndex layer, const at::Tensor& hidden, const at::Tensor& mixed,
                    const DownProjectionHook* hook) const override {
    const Gpt2Block& block = BlockAt(layer);
    const at::Tensor middle = block.attention_out.AddedTo(hidden, mixed);
    const at::Tensor key = block.mlp_up.Then(Activation::kGeluNew, block.mlp_norm(middle));
    return AddDownProjection(layer, middle, key, hook);
  }

  at::Tensor DownProjectionInput(LayerIndex layer, const at::Tensor& hidden,
                                 const at::Tensor& positions,
                                 AttentionContext& attention) const override {
    const Gpt2Block& block = BlockAt(layer);
    const AttentionInput input = Project(layer, hidden, positions);
    const at::Tensor mixed = attention.Attend(layer, input.query, input.key, input.value);
    return block.mlp_up.Then(Activation::kGeluNew,
                             block.mlp_norm(block.attention_out.AddedTo(hidden, mixed)));
  }

  StoredProjection StoredDownProjection(LayerIndex layer) const override {
    return {absl::StrCat(DownProjectionName(layer.value()), ".weight"), kLayout};
  }

  int64_t ParameterCount() const override {
    return BlockStack::ParameterCount() + weights().position_embedding.numel();
  }
};

absl::StatusOr<Gpt2Block> ReadBlock(const WeightReader& reader, const ModelConfig& config,
                                    int layer) {
  const int64_t d = config.hidden_size;
  const int64_t m = config.intermediate_size;
  const double epsilon = config.norm_epsilon;
  const std::string prefix = absl::StrCat("transformer.h.", layer, ".");
  Gpt2Block block;
  AMEND_ASSIGN_OR_RETURN(block.attention_norm, reader.ReadLayerNorm(prefix + "ln_1", d, epsilon));
  AMEND_ASSIGN_OR_RETURN(block.query_key_value,
                         reader.ReadLinear(prefix + "attn.c_attn", d, 3 * d, kLayout));
  AMEND_ASSIGN_OR_RETURN(block.attention_out,
                         reader.ReadLinear(prefix + "attn.c_proj", d, d, kLayout));
  AMEND_ASSIGN_OR_RETURN(block.mlp_norm, reader.ReadLayerNorm(prefix + "ln_2", d, epsilon));
  AMEND_ASSIGN_OR_RETURN(block.mlp_up, reader.ReadLinear(prefix + "mlp.c_fc", d, m, kLayout));
  AMEND_ASSIGN_OR_RETURN(block.mlp_down,
                         reader.ReadLinear(DownProjectionName(layer), m, d, kLayout));
  return block;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CausalLm>> LoadGpt2(const ModelConfig& config,
                                                         const LoadOptions& options,
                                                         const Checkpoint& checkpoint) {
  const WeightReader reader(checkpoint, options);
  const int64_t d = config.hidden_size;
  Gpt2Weights weights;
  AMEND_ASSIGN_OR_RETURN(weights.token_embedding,
                         reader.Read("transformer.wte.weight", {config.vocabulary_size, d}));
  AMEND_ASSIGN_OR_RETURN(weights.position_embedding,
                         reader.Read("transformer.wpe.weight", {config.context_length, d}));
  for (int layer = 0; layer < config.layers; ++layer) {
    AMEND_ASSIGN_OR_RETURN(Gpt2Block block, ReadBlock(reader, config, layer));
    weights.blocks.push_back(std::move(block));
  }
  AMEND_ASSIGN_OR_RETURN(weights.final_norm,
                         reader.ReadLayerNorm("transformer.ln_f", d, config.norm_epsilon));
  weights.head.weight = weights.token_embedding;
  return std::make_shared<const Gpt2>(config, options, std::move(weights));
}

}  // namespace amend
