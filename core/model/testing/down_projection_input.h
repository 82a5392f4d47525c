#ifndef AMEND_CORE_MODEL_TESTING_DOWN_PROJECTION_INPUT_H_
#define AMEND_CORE_MODEL_TESTING_DOWN_PROJECTION_INPUT_H_

#include <vector>

#include "core/base/types.h"
#include "core/model/causal_lm.h"

namespace amend {

// Runs block `layer` over the embeddings of `tokens` with a hook and expects that what the hook is
// given, [T, intermediate], is what DownProjectionInput says, to the last bit.
void ExpectDownProjectionInputIsWhatTheHookSees(const CausalLm& model, LayerIndex layer,
                                                const std::vector<TokenId>& tokens);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_TESTING_DOWN_PROJECTION_INPUT_H_
