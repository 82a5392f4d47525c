#include "core/generation/testing/random_revisions.h"

#include <ATen/core/Tensor.h>

#include <map>

#include "core/editing/factors.h"
#include "core/model/hook_point.h"
#include "core/model/testing/full_forward.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

// Keeps what the down-projection of each layer reads at the last token.
class LastKeys : public DownProjectionHook {
 public:
  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    const at::Tensor last = input[-1].to(at::kFloat).contiguous();
    const float* values = last.const_data_ptr<float>();
    keys_[layer].assign(values, values + last.numel());
    return output;
  }
  const std::vector<float>& At(LayerIndex layer) const { return keys_.at(layer); }

 private:
  mutable std::map<LayerIndex, std::vector<float>> keys_;
};

void AppendRow(const std::vector<float>& row, Matrix* matrix) {
  matrix->values.insert(matrix->values.end(), row.begin(), row.end());
  matrix->cols = static_cast<int64_t>(row.size());
  ++matrix->rows;
}

// One edit at one layer: v = k / |k|^2, so v.k = 1, and a random u.
void AppendEdit(const std::vector<float>& key, int hidden_size, float size, std::mt19937& random,
                LayerFactors* factors) {
  float square = 0;
  for (const float x : key) square += x * x;
  std::vector<float> v;
  for (const float x : key) v.push_back(x / square);
  std::vector<float> u;
  // Not std::normal_distribution: its numbers differ from library to library.
  for (int i = 0; i < hidden_size; ++i)
    u.push_back(size * (static_cast<float>(random() % 2001) / 1000 - 1));
  AppendRow(u, &factors->u);
  AppendRow(v, &factors->v);
  AppendRow(key, &factors->keys);
  factors->activations.push_back(1);
}

}  // namespace

std::vector<TokenId> RandomTokens(const CausalLm& model, int count, std::mt19937& random) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back(static_cast<TokenId>(random() % model.config().vocabulary_size));
  }
  return tokens;
}

std::shared_ptr<const HookStack> RevisionThatFiresOn(
    const CausalLm& model, const std::shared_ptr<const HookStack>& parent, Revision revision,
    const std::vector<LayerIndex>& layers, const std::vector<std::vector<TokenId>>& prompts,
    float size, std::mt19937& random) {
  RevisionFactors factors;
  for (const LayerIndex layer : layers) factors.layers.push_back({layer, {}, {}, {}, {}});
  for (const std::vector<TokenId>& prompt : prompts) {
    const LastKeys keys;
    FullForward(model, prompt, &keys);
    for (LayerFactors& layer : factors.layers) {
      AppendEdit(keys.At(layer.layer), model.config().hidden_size, size, random, &layer);
    }
  }
  auto stack = HookStack::Extend(parent, revision, factors);
  EXPECT_TRUE(stack.ok()) << stack.status();
  return *stack;
}

std::shared_ptr<const HookStack> RandomRevision(const CausalLm& model,
                                                const std::shared_ptr<const HookStack>& parent,
                                                Revision revision,
                                                const std::vector<LayerIndex>& layers, int edits,
                                                std::mt19937& random,
                                                std::vector<std::vector<TokenId>>* fires_on) {
  std::vector<std::vector<TokenId>> prompts;
  for (int i = 0; i < edits; ++i) {
    prompts.push_back(RandomTokens(model, 1 + random() % 12, random));
  }
  fires_on->insert(fires_on->end(), prompts.begin(), prompts.end());
  return RevisionThatFiresOn(model, parent, revision, layers, prompts, /*size=*/2, random);
}

}  // namespace amend
