#ifndef AMEND_CORE_EDITING_CONTEXT_TEMPLATES_H_
#define AMEND_CORE_EDITING_CONTEXT_TEMPLATES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

// Samples the five prefixed context templates from the unedited model: for each of "The",
// "Therefore", "Because", "I", "You" a sample of 10 tokens in all (top-k 5), followed by ". {}"
// (arXiv 2403.05330, reference code). The same seed gives the same templates.
absl::StatusOr<std::vector<std::string>> SampleContextTemplates(
    std::shared_ptr<const CausalLm> model, const Tokenizer& tokenizer, uint64_t seed);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_CONTEXT_TEMPLATES_H_
