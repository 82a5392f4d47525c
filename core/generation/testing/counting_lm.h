#ifndef AMEND_CORE_GENERATION_TESTING_COUNTING_LM_H_
#define AMEND_CORE_GENERATION_TESTING_COUNTING_LM_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/base/types.h"
#include "core/model/attention.h"
#include "core/model/causal_lm.h"

namespace amend {

// Another model, that counts the tokens which each block runs. Thread-compatible, the counting
// const methods too.
class CountingLm : public CausalLm {
 public:
  explicit CountingLm(std::shared_ptr<const CausalLm> model)
      : CausalLm(model->config(), model->load_options()), model_(std::move(model)) {}

  // Tokens since the last Reset.
  int64_t ran(LayerIndex layer) const { return ran_[layer.value()]; }
  void Reset() const { ran_.assign(config().layers, 0); }

  at::Tensor Embed(const at::Tensor& ids, const at::Tensor& positions) const override {
    return model_->Embed(ids, positions);
  }
  AttentionInput Project(LayerIndex layer, const at::Tensor& hidden,
                         const at::Tensor& positions) const override {
    ran_[layer.value()] += hidden.size(0);
    return model_->Project(layer, hidden, positions);
  }
  at::Tensor Finish(LayerIndex layer, const at::Tensor& hidden, const at::Tensor& mixed,
                    const DownProjectionHook* hook) const override {
    return model_->Finish(layer, hidden, mixed, hook);
  }
  at::Tensor DownProjectionInput(LayerIndex layer, const at::Tensor& hidden,
                                 const at::Tensor& positions,
                                 AttentionContext& attention) const override {
    return model_->DownProjectionInput(layer, hidden, positions, attention);
  }
  at::Tensor Head(const at::Tensor& hidden) const override { return model_->Head(hidden); }
  at::Tensor DownProjection(LayerIndex layer) const override {
    return model_->DownProjection(layer);
  }
  StoredProjection StoredDownProjection(LayerIndex layer) const override {
    return model_->StoredDownProjection(layer);
  }
  int64_t ParameterCount() const override { return model_->ParameterCount(); }
  std::shared_ptr<const CausalLm> WithPackedWeights(LayerIndex first, Dtype dtype,
                                                    int64_t rows) const override {
    return model_->WithPackedWeights(first, dtype, rows);
  }

 private:
  const std::shared_ptr<const CausalLm> model_;
  mutable std::vector<int64_t> ran_ = std::vector<int64_t>(config().layers);
};

}  // namespace amend

#endif  // AMEND_CORE_GENERATION_TESTING_COUNTING_LM_H_
