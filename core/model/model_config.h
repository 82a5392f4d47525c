#ifndef AMEND_CORE_MODEL_MODEL_CONFIG_H_
#define AMEND_CORE_MODEL_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/types.h"
#include "core/model/activation.h"

namespace amend {

// How rotary positions reach beyond the context that a model was first trained on ("rope_scaling").
struct RotaryScaling {
  enum class Kind { kNone, kLinear, kLlama3 };
  Kind kind = Kind::kNone;
  // By what frequencies are divided: all of them (linear), or the low ones (Llama 3.1).
  double factor = 1;
  // Llama 3.1: frequencies are low, or high, where the original context holds fewer, or more, than
  // so many of their turns; between the two they change gradually.
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  int original_context_length = 0;
};

// Shape of a decoder-only language model, from a Hugging Face config.json.
struct ModelConfig {
  // Hugging Face's model_type: "gpt2", "gptj", "gpt_neox", "llama", "mistral", "qwen2".
  std::string architecture;
  int layers = 0;
  int hidden_size = 0;
  int heads = 0;
  // Heads of keys and values: each serves heads / kv_heads neighbouring heads of queries.
  int kv_heads = 0;
  // heads * head_dim need not be hidden_size.
  int head_dim = 0;
  // d_in of the edited projection.
  int intermediate_size = 0;
  int vocabulary_size = 0;
  // Positions, prompt and generated tokens together. Where attention has a sliding window, no more
  // than that: within it every token sees all those before it.
  int context_length = 0;
  // Of layer norms or RMS norms.
  double norm_epsilon = 1e-5;
  // Dimensions of each head that are rotated by their position; 0: none.
  int rotary_dim = 0;
  double rotary_base = 10000;
  RotaryScaling rotary_scaling;
  Activation activation = Activation::kGeluNew;
  // Whether attention and MLP of a block read the same input, side by side.
  bool parallel_residual = false;
  // Biases of the projections to queries, keys and values, of that behind the attention, and of the
  // MLP's.
  bool query_key_value_bias = true;
  bool attention_out_bias = true;
  bool mlp_bias = true;
  // Whether the output head is the token embedding.
  bool tied_head = false;
  std::vector<TokenId> end_of_text_ids;
};

// Reads `directory`/config.json. NOT_FOUND, or INVALID_ARGUMENT naming the file, the field and its
// value (also for options that change the mathematics and are not supported).
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_MODEL_CONFIG_H_
