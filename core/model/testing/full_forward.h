#ifndef AMEND_CORE_MODEL_TESTING_FULL_FORWARD_H_
#define AMEND_CORE_MODEL_TESTING_FULL_FORWARD_H_

#include <ATen/core/Tensor.h>

#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/model/causal_lm.h"
#include "core/model/hook_point.h"

namespace amend {

// The plainest forward there is: one row, no cache, no batch. Logits of every position [T,
// vocabulary], float32, on the CPU. `hook` may be null.
at::Tensor FullForward(const CausalLm& model, absl::Span<const TokenId> tokens,
                       const DownProjectionHook* hook);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_TESTING_FULL_FORWARD_H_
