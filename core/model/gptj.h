#ifndef AMEND_CORE_MODEL_GPTJ_H_
#define AMEND_CORE_MODEL_GPTJ_H_

#include <memory>

#include "absl/status/statusor.h"
#include "core/model/causal_lm.h"
#include "core/model/checkpoint.h"

namespace amend {

// GPT-J (Wang and Komatsuzaki 2021) as Hugging Face stores it: rotary positions on the first
// `rotary_dim` dimensions of each head (interleaved pairs), attention and MLP in parallel behind
// one norm, projections kept [out, in], an untied head with a bias.
absl::StatusOr<std::shared_ptr<const CausalLm>> LoadGptj(const ModelConfig& config,
                                                         const LoadOptions& options,
                                                         const Checkpoint& checkpoint);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_GPTJ_H_
