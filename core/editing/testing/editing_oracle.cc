#include "core/editing/testing/editing_oracle.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "core/editing/tensor_matrix.h"
#include "core/model/attention.h"
#include "core/model/hook_point.h"

namespace amend {
namespace {

// One row, all of it.
class WholeRowAttention : public AttentionContext {
 public:
  at::Tensor Attend(LayerIndex, const at::Tensor& query, const at::Tensor& key,
                    const at::Tensor& value) override {
    const int64_t n = query.size(0);
    const double scale = 1 / std::sqrt(static_cast<double>(query.size(2)));
    // A head of keys and values for each head of queries.
    const int64_t group = query.size(1) / key.size(1);
    const at::Tensor keys = key.repeat_interleave(group, 1).transpose(0, 1);
    const at::Tensor values = value.repeat_interleave(group, 1).transpose(0, 1);
    const at::Tensor scores = at::matmul(query.transpose(0, 1), keys.transpose(1, 2)) * scale;
    const at::Tensor later = at::ones({n, n}).triu(1).to(at::kBool);
    const at::Tensor weights =
        at::softmax(scores.masked_fill(later, -std::numeric_limits<float>::infinity()), -1);
    return at::matmul(weights, values).transpose(0, 1).reshape({n, -1});
  }
};

// The hook of one layer: what the projection puts out.
using LayerHook = std::function<at::Tensor(const at::Tensor& input, const at::Tensor& output)>;

class Hooks : public DownProjectionHook {
 public:
  std::map<LayerIndex, LayerHook> layers;
  mutable std::map<LayerIndex, at::Tensor> inputs;

  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    inputs[layer] = input;
    const auto it = layers.find(layer);
    return it == layers.end() ? output : it->second(input, output);
  }
};

std::vector<const LayerFactors*> FactorsOf(absl::Span<const RevisionFactors> parents,
                                           LayerIndex layer) {
  std::vector<const LayerFactors*> found;
  for (const RevisionFactors& parent : parents) {
    for (const LayerFactors& factors : parent.layers) {
      if (factors.layer == layer) found.push_back(&factors);
    }
  }
  return found;
}

// Blocks [begin, end) over one row.
at::Tensor Run(const CausalLm& model, int begin, int end, at::Tensor hidden, const Hooks& hooks) {
  WholeRowAttention attention;
  const at::Tensor positions = at::arange(hidden.size(0), at::kLong);
  for (int layer = begin; layer < end; ++layer) {
    hidden = model.Block(LayerIndex(layer), hidden, positions, attention, &hooks);
  }
  return hidden;
}

at::Tensor EmbedRow(const CausalLm& model, const std::vector<TokenId>& tokens) {
  at::Tensor ids = at::zeros({static_cast<int64_t>(tokens.size())}, at::kLong);
  for (size_t i = 0; i < tokens.size(); ++i) ids[static_cast<int64_t>(i)] = tokens[i];
  return model.Embed(ids, at::arange(ids.size(0), at::kLong));
}

// Log probabilities [n, vocabulary] of a row with `delta` added to the output of block l_m at
// `lookup`; that output there, before the addition, goes to `plain`.
at::Tensor LogProbs(const CausalLm& model, const Hooks& hooks, int last_edited, int loss_layer,
                    const std::vector<TokenId>& tokens, int64_t lookup, const at::Tensor& delta,
                    at::Tensor* plain) {
  const at::Tensor middle = Run(model, 0, last_edited + 1, EmbedRow(model, tokens), hooks);
  if (plain != nullptr) *plain = middle[lookup].detach();
  at::Tensor place = at::zeros({middle.size(0), 1});
  place[lookup] = 1;
  const at::Tensor moved = middle + place * delta.unsqueeze(0);
  return at::log_softmax(model.Head(Run(model, last_edited + 1, loss_layer + 1, moved, hooks)), -1);
}

Hooks ScopedHooks(absl::Span<const RevisionFactors> parents, double beta, int layers) {
  Hooks hooks;
  for (int layer = 0; layer < layers; ++layer) {
    if (FactorsOf(parents, LayerIndex(layer)).empty()) continue;
    hooks.layers[LayerIndex(layer)] = [parents, beta, layer](const at::Tensor& input,
                                                             const at::Tensor& output) {
      return OracleScopedOutput(parents, beta, LayerIndex(layer), input, output);
    };
  }
  return hooks;
}

struct Loss {
  at::Tensor value;
  at::Tensor essence;  // [vocabulary]: log probabilities at the essence row's lookup index
  at::Tensor z0;       // [d]
};

Loss TargetLoss(const CausalLm& model, const Hooks& hooks, const EditSettings& settings,
                const EditRows& edit, const at::Tensor& delta, const at::Tensor& initial_essence) {
  const int last = settings.layers.back().value();
  const int loss_layer = settings.loss_layer < 0 ? model.config().layers - 1 : settings.loss_layer;
  Loss loss;
  at::Tensor nll = at::zeros({});
  for (size_t r = 0; r < edit.prompts.size(); ++r) {
    const PromptRow& row = edit.prompts[r];
    std::vector<TokenId> tokens = row.tokens;
    tokens.insert(tokens.end(), edit.target.begin(), edit.target.end());
    const at::Tensor log_probs = LogProbs(model, hooks, last, loss_layer, tokens, row.lookup, delta,
                                          r == 0 ? &loss.z0 : nullptr);
    for (size_t i = 0; i < edit.target.size(); ++i) {
      nll = nll - log_probs[static_cast<int64_t>(row.tokens.size() + i) - 1][edit.target[i]] /
                      static_cast<double>(edit.target.size() * edit.prompts.size());
    }
  }
  loss.essence = LogProbs(model, hooks, last, loss_layer, edit.essence.tokens, edit.essence.lookup,
                          delta, nullptr)[edit.essence.lookup];
  const at::Tensor initial = initial_essence.defined() ? initial_essence : loss.essence.detach();
  const at::Tensor kl = (loss.essence.exp() * (loss.essence - initial)).sum();
  loss.value = nll + settings.kl_factor * kl +
               settings.weight_decay * delta.norm() / loss.z0.norm().square();
  return loss;
}

// The output of block `last` at the lookup index of a row, and the input of `layer`'s projection
// there.
std::pair<at::Tensor, at::Tensor> ValueAndKey(const CausalLm& model, const Hooks& hooks,
                                              const PromptRow& row, int last, LayerIndex layer) {
  const at::Tensor out = Run(model, 0, last + 1, EmbedRow(model, row.tokens), hooks);
  return {out[row.lookup], hooks.inputs.at(layer)[row.lookup]};
}

OracleUpdate SolveOneLayer(const CausalLm& model, const Hooks& hooks, int last, LayerIndex layer,
                           absl::Span<const EditRows> edits, const at::Tensor& targets,
                           double share, const at::Tensor& covariance) {
  std::vector<at::Tensor> keys, current;
  for (const EditRows& edit : edits) {
    at::Tensor key;
    const double prefixed = static_cast<double>(edit.prompts.size()) - 1;
    for (size_t t = 0; t < edit.prompts.size(); ++t) {
      const auto [value, one] = ValueAndKey(model, hooks, edit.prompts[t], last, layer);
      if (t == 0) current.push_back(value);
      if (t == 0) key = prefixed == 0 ? one : 0.5 * one;
      if (t > 0) key = key + 0.5 / prefixed * one;
    }
    keys.push_back(key);
  }
  OracleUpdate update;
  update.keys = at::stack(keys, 0);
  update.current = at::stack(current, 0);
  const at::Tensor k = update.keys.to(at::kDouble).t();  // [d_in, B]
  const at::Tensor x = at::linalg_solve(covariance + at::matmul(k, k.t()), k);
  update.v = x.t().to(at::kFloat);
  const at::Tensor activations = (update.v * update.keys).sum(1).unsqueeze(1);
  update.u = (targets - update.current) * share / activations;
  return update;
}

RevisionFactors AsFactors(LayerIndex layer, const OracleUpdate& update) {
  LayerFactors factors;
  factors.layer = layer;
  factors.u = ToMatrix(update.u);
  factors.v = ToMatrix(update.v);
  factors.activations = ToMatrix((update.v * update.keys).sum(1).unsqueeze(0)).values;
  return RevisionFactors{{factors}};
}

}  // namespace

at::Tensor OracleScopedOutput(absl::Span<const RevisionFactors> parents, double beta,
                              LayerIndex layer, const at::Tensor& input, const at::Tensor& output) {
  std::vector<at::Tensor> tokens;
  for (int64_t t = 0; t < input.size(0); ++t) {
    at::Tensor y = output[t];
    for (const LayerFactors* factors : FactorsOf(parents, layer)) {
      const at::Tensor u = ToTensor(factors->u);
      const at::Tensor v = ToTensor(factors->v);
      for (int64_t b = 0; b < u.size(0); ++b) {
        const at::Tensor c = (v[b] * input[t]).sum();
        if (c.item<double>() >= beta * factors->activations[b]) y = y + c * u[b];
      }
    }
    tokens.push_back(y);
  }
  return at::stack(tokens, 0);
}

OracleTarget OracleTargetValue(const CausalLm& model, absl::Span<const RevisionFactors> parents,
                               const EditSettings& settings, const EditRows& edit) {
  const at::AutoGradMode enable_grad(true);
  const Hooks hooks = ScopedHooks(parents, settings.beta, model.config().layers);
  at::Tensor delta = at::zeros({model.config().hidden_size});
  at::Tensor first = at::zeros_like(delta);
  at::Tensor second = at::zeros_like(delta);
  at::Tensor essence;
  OracleTarget target;
  for (int i = 0; i < settings.steps; ++i) {
    delta = delta.detach().requires_grad_(true);
    const Loss loss = TargetLoss(model, hooks, settings, edit, delta, essence);
    if (i == 0) essence = loss.essence.detach();
    target.z = loss.z0 + delta.detach();
    target.loss = loss.value.item<double>();
    target.steps = i + 1;
    if (target.loss < settings.stop_loss || i + 1 == settings.steps) break;
    loss.value.backward();
    const at::Tensor gradient = delta.grad();
    first = 0.9 * first + 0.1 * gradient;
    second = 0.999 * second + 0.001 * gradient * gradient;
    const at::Tensor unbiased_first = first / (1 - std::pow(0.9, i + 1));
    const at::Tensor unbiased_second = second / (1 - std::pow(0.999, i + 1));
    delta =
        delta.detach() - settings.learning_rate * unbiased_first / (unbiased_second.sqrt() + 1e-8);
    const double bound = settings.clamp * loss.z0.norm().item<double>();
    const double norm = delta.norm().item<double>();
    if (norm > bound) delta = delta * (bound / norm);
  }
  return target;
}

std::map<LayerIndex, OracleUpdate> OracleSolveLayers(
    const CausalLm& model, absl::Span<const RevisionFactors> parents, const EditSettings& settings,
    absl::Span<const EditRows> edits, const at::Tensor& targets,
    const std::map<LayerIndex, at::Tensor>& covariances) {
  const at::NoGradGuard no_grad;
  const int last = settings.layers.back().value();
  std::map<LayerIndex, OracleUpdate> updates;
  std::vector<RevisionFactors> line(parents.begin(), parents.end());
  const size_t layers = settings.layers.size();
  for (size_t i = 0; i < layers; ++i) {
    Hooks hooks;
    for (size_t j = 0; j < layers; ++j) {
      const LayerIndex layer = settings.layers[j];
      hooks.layers[layer] = [&, layer](const at::Tensor& input, const at::Tensor& output) {
        return OracleScopedOutput(line, settings.beta, layer, input, output);
      };
    }
    const LayerIndex layer = settings.layers[i];
    updates[layer] = SolveOneLayer(model, hooks, last, layer, edits, targets,
                                   1 / static_cast<double>(layers - i), covariances.at(layer));
    line.push_back(AsFactors(layer, updates[layer]));
  }
  return updates;
}

}  // namespace amend
