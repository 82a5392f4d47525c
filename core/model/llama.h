#ifndef AMEND_CORE_MODEL_LLAMA_H_
#define AMEND_CORE_MODEL_LLAMA_H_

#include <memory>

#include "absl/status/statusor.h"
#include "core/model/causal_lm.h"
#include "core/model/checkpoint.h"

namespace amend {

// Llama (Touvron et al. 2023) and what shares its structure, Mistral and Qwen2, as Hugging Face
// stores them: RMS norms, rotary positions (halves of each head), heads of keys and values that
// several heads of queries share, an MLP gated by SiLU, projections kept [out, in], a head that may
// be tied. The edited projection reads silu(gate) * up.
absl::StatusOr<std::shared_ptr<const CausalLm>> LoadLlama(const ModelConfig& config,
                                                          const LoadOptions& options,
                                                          const Checkpoint& checkpoint);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_LLAMA_H_
