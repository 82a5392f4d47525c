#include "core/editing/testing/random_model.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/editing/tensor_matrix.h"
#include "core/model/checkpoint.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using Weights = std::map<std::string, at::Tensor>;

Weights RandomWeights(const RandomModelShape& shape, uint64_t seed) {
  Weights weights;
  const auto add = [&](const std::string& name, std::vector<int64_t> sizes, double scale) {
    weights[name] = scale * RandomTensor(sizes, seed + 1000003 * weights.size());
  };
  const auto add_norm = [&](const std::string& name) {
    add(name + ".weight", {shape.hidden}, 0.1);
    weights[name + ".weight"] += 1;
    add(name + ".bias", {shape.hidden}, 0.1);
  };
  const auto add_linear = [&](const std::string& name, int in, int out) {
    add(name + ".weight", {in, out}, 0.25);
    add(name + ".bias", {out}, 0.1);
  };
  add("transformer.wte.weight", {shape.vocabulary, shape.hidden}, 0.5);
  add("transformer.wpe.weight", {shape.context, shape.hidden}, 0.3);
  add_norm("transformer.ln_f");
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::string block = absl::StrCat("transformer.h.", layer, ".");
    add_norm(block + "ln_1");
    add_norm(block + "ln_2");
    add_linear(block + "attn.c_attn", shape.hidden, 3 * shape.hidden);
    add_linear(block + "attn.c_proj", shape.hidden, shape.hidden);
    add_linear(block + "mlp.c_fc", shape.hidden, shape.intermediate());
    add_linear(block + "mlp.c_proj", shape.intermediate(), shape.hidden);
  }
  return weights;
}

std::vector<TokenId> RandomTokens(std::mt19937_64* random, int vocabulary, int count) {
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>((*random)() % vocabulary);
  return tokens;
}

}  // namespace

at::Tensor RandomTensor(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::TensorOptions(at::kFloat));
}

std::shared_ptr<const CausalLm> RandomGpt2(const RandomModelShape& shape, uint64_t seed,
                                           const std::function<void(Weights*)>& change) {
  Weights weights = RandomWeights(shape, seed);
  if (change) change(&weights);
  static int models = 0;
  const std::string directory = absl::StrCat(testing::TempDir(), "/random_gpt2_", models++);
  mkdir(directory.c_str(), 0755);
  std::ofstream(directory + "/config.json")
      << "{\"model_type\": \"gpt2\", \"n_layer\": " << shape.layers
      << ", \"n_embd\": " << shape.hidden << ", \"n_head\": " << shape.heads
      << ", \"vocab_size\": " << shape.vocabulary << ", \"n_positions\": " << shape.context << "}";
  const absl::Status written = WriteSafetensors(weights, directory + "/model.safetensors");
  const auto model = LoadCausalLm(directory, LoadOptions());
  if (!written.ok() || !model.ok()) {
    std::cerr << "cannot make a random model: " << written << ", " << model.status() << std::endl;
    std::abort();
  }
  return *model;
}

EditRows RandomEditRows(std::mt19937_64* random, int vocabulary, int prefixes, int target_length) {
  const int prompt_length = 1 + static_cast<int>((*random)() % 6);
  const std::vector<TokenId> prompt = RandomTokens(random, vocabulary, prompt_length);
  int64_t lookup = 0;
  switch ((*random)() % 3) {
    case 0:
      break;
    case 1:
      lookup = prompt_length - 1;
      break;
    default:
      lookup = static_cast<int64_t>((*random)() % prompt_length);
  }
  EditRows rows;
  rows.prompts.push_back(PromptRow{prompt, lookup});
  for (int i = 0; i < prefixes; ++i) {
    const int prefix_length = i == 0 ? 1 : 1 + static_cast<int>((*random)() % 8);
    PromptRow row{RandomTokens(random, vocabulary, prefix_length), lookup + prefix_length};
    row.tokens.insert(row.tokens.end(), prompt.begin(), prompt.end());
    rows.prompts.push_back(std::move(row));
  }
  rows.essence.tokens.assign(prompt.begin(), prompt.begin() + lookup + 1);
  rows.essence.lookup = lookup;
  const std::vector<TokenId> is_a = RandomTokens(random, vocabulary, 2);
  rows.essence.tokens.insert(rows.essence.tokens.end(), is_a.begin(), is_a.end());
  rows.target = RandomTokens(random, vocabulary, target_length);
  return rows;
}

RevisionFactors RandomFactors(const RandomModelShape& shape, const std::vector<int>& layers,
                              int edits, uint64_t seed) {
  RevisionFactors factors;
  for (const int layer : layers) {
    const uint64_t start = seed * 31 + 7 * static_cast<uint64_t>(layer);
    const at::Tensor v = 0.2 * RandomTensor({edits, shape.intermediate()}, start + 1);
    const at::Tensor keys = RandomTensor({edits, shape.intermediate()}, start + 2).abs();
    LayerFactors of_layer;
    of_layer.layer = LayerIndex(layer);
    of_layer.u = ToMatrix(0.3 * RandomTensor({edits, shape.hidden}, start + 3));
    of_layer.v = ToMatrix(v);
    of_layer.keys = ToMatrix(keys);
    of_layer.activations = ToMatrix((v * keys).sum(1).abs().unsqueeze(0) + 0.05).values;
    factors.layers.push_back(std::move(of_layer));
  }
  return factors;
}

double RelativeDifference(const at::Tensor& actual, const at::Tensor& expected) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (actual.sizes() != expected.sizes()) return kInfinity;
  const at::Tensor wanted = expected.detach().to(at::kDouble);
  const double largest = wanted.abs().max().item<double>();
  const double difference = (actual.detach().to(at::kDouble) - wanted).abs().max().item<double>();
  const double relative = difference / (largest > 0 ? largest : 1);
  return relative == relative ? relative : kInfinity;
}

}  // namespace amend
