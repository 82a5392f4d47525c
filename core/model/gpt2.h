#ifndef AMEND_CORE_MODEL_GPT2_H_
#define AMEND_CORE_MODEL_GPT2_H_

#include <memory>

#include "absl/status/statusor.h"
#include "core/model/causal_lm.h"
#include "core/model/checkpoint.h"

namespace amend {

// GPT-2 (Radford et al. 2019) as Hugging Face stores it: learned positions, pre-norm blocks, one
// matrix for queries, keys and values, projections kept [in, out], output head tied to the
// embedding.
absl::StatusOr<std::shared_ptr<const CausalLm>> LoadGpt2(const ModelConfig& config,
                                                         const LoadOptions& options,
                                                         const Checkpoint& checkpoint);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_GPT2_H_
