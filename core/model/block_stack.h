#ifndef AMEND_CORE_MODEL_BLOCK_STACK_H_
#define AMEND_CORE_MODEL_BLOCK_STACK_H_

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/embedding.h>

#include <memory>
#include <utility>

#include "core/model/causal_lm.h"
#include "core/model/hook_point.h"
#include "core/model/layers.h"

namespace amend {

// What architectures have in common: a token embedding, blocks that end in the down-projection of
// an MLP, a norm, a head. `Model` derives from it and is made from a ModelConfig, LoadOptions and
// `Weights`, which are
//   token_embedding [vocabulary, d], blocks, final_norm, head (of the embedding's own weight where
//   the two are tied),
// each block with `mlp_down` and with kProducts and kNorms, its Linears and its norms as pointers
// to members.
template <typename Model, typename Weights>
class BlockStack : public CausalLm {
 public:
  BlockStack(const ModelConfig& config, const LoadOptions& options, Weights weights)
      : CausalLm(config, options), weights_(std::move(weights)) {}

  at::Tensor Embed(const at::Tensor& ids, const at::Tensor& /*positions*/) const override {
    return at::embedding(weights_.token_embedding, ids);
  }

  at::Tensor Head(const at::Tensor& hidden) const override {
    return weights_.head.Float32(weights_.final_norm(hidden));
  }

  at::Tensor DownProjection(LayerIndex layer) const override {
    return BlockAt(layer).mlp_down.weight;
  }

  int64_t ParameterCount() const override {
    int64_t count = weights_.token_embedding.numel() + CountOf(weights_.final_norm);
    const bool tied = weights_.head.weight.is_same(weights_.token_embedding);
    if (!tied) count += CountOf(weights_.head);
    for (const auto& block : weights_.blocks) {
      for (const auto product : block.kProducts) count += CountOf(block.*product);
      for (const auto norm : block.kNorms) count += CountOf(block.*norm);
    }
    return count;
  }

  std::shared_ptr<const CausalLm> WithPackedWeights(LayerIndex first, Dtype dtype,
                                                    int64_t rows) const override {
    Weights weights = weights_;
    for (int layer = first.value(); layer < config().layers; ++layer) {
      auto& block = weights.blocks[layer];
      for (const auto product : block.kProducts) (block.*product).Pack(dtype, rows);
    }
    weights.head.Pack(dtype, rows);
    return std::make_shared<const Model>(config(), load_options(), std::move(weights));
  }

 protected:
  const Weights& weights() const { return weights_; }
  const auto& BlockAt(LayerIndex layer) const { return weights_.blocks[layer.value()]; }

  // The end of a block: the down-projection of `key` [T, d_in], as `hook` (may be null) has it, on
  // top of `middle` [T, d].
  at::Tensor AddDownProjection(LayerIndex layer, const at::Tensor& middle, const at::Tensor& key,
                               const DownProjectionHook* hook) const {
    const Linear& down = BlockAt(layer).mlp_down;
    if (hook == nullptr) return down.AddedTo(middle, key);
    return middle + hook->Apply(layer, key, down(key));
  }

 private:
  const Weights weights_;
};

}  // namespace amend

#endif  // AMEND_CORE_MODEL_BLOCK_STACK_H_
