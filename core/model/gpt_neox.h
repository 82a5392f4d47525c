#ifndef AMEND_CORE_MODEL_GPT_NEOX_H_
#define AMEND_CORE_MODEL_GPT_NEOX_H_

#include <memory>

#include "absl/status/statusor.h"
#include "core/model/causal_lm.h"
#include "core/model/checkpoint.h"

namespace amend {

// GPT-NeoX (Black et al. 2022), Pythia's architecture too, as Hugging Face stores it: rotary
// positions on the first dimensions of each head (halves), attention and MLP side by side or one
// behind the other, each behind a norm of its own, one matrix for queries, keys and values (in turn
// for each head), projections kept [out, in].
absl::StatusOr<std::shared_ptr<const CausalLm>> LoadGptNeox(const ModelConfig& config,
                                                            const LoadOptions& options,
                                                            const Checkpoint& checkpoint);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_GPT_NEOX_H_
