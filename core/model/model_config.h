#ifndef AMEND_CORE_MODEL_MODEL_CONFIG_H_
#define AMEND_CORE_MODEL_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/types.h"

namespace amend {

// Shape of a decoder-only language model, from a Hugging Face config.json.
struct ModelConfig {
  // Hugging Face's model_type: "gpt2", "gptj".
  std::string architecture;
  int layers = 0;
  int hidden_size = 0;
  int heads = 0;
  // d_in of the edited projection.
  int intermediate_size = 0;
  int vocabulary_size = 0;
  // Positions, prompt and generated tokens together.
  int context_length = 0;
  double layer_norm_epsilon = 1e-5;
  // GPT-J: how many dimensions of each head are rotated.
  int rotary_dim = 0;
  std::vector<TokenId> end_of_text_ids;

  int head_dim() const { return hidden_size / heads; }
};

// Reads `directory`/config.json. NOT_FOUND, or INVALID_ARGUMENT naming the file, the field and its
// value (also for options that change the mathematics and are not supported).
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_MODEL_CONFIG_H_
