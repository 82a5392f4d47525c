#ifndef AMEND_CORE_MODEL_TESTING_GOLDEN_LOGITS_H_
#define AMEND_CORE_MODEL_TESTING_GOLDEN_LOGITS_H_

#include <string>

#include "core/model/causal_lm.h"

namespace amend {

// Runs every prompt of a file that tests/golden/make_logits.py wrote through `model` and expects
// its logits, each within `relative` times the position's largest magnitude.
void ExpectGoldenLogits(const CausalLm& model, const std::string& path, double relative);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_TESTING_GOLDEN_LOGITS_H_
