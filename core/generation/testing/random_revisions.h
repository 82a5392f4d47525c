#ifndef AMEND_CORE_GENERATION_TESTING_RANDOM_REVISIONS_H_
#define AMEND_CORE_GENERATION_TESTING_RANDOM_REVISIONS_H_

#include <memory>
#include <random>
#include <vector>

#include "core/base/types.h"
#include "core/editing/hook_stack.h"
#include "core/model/causal_lm.h"

namespace amend {

// `count` random token ids.
std::vector<TokenId> RandomTokens(const CausalLm& model, int count, std::mt19937& random);

// `parent` plus one revision with an edit per prompt at `layers`. Its v is what the unedited
// model's down-projection reads at the prompt's last token, so the edit fires there (and hardly
// anywhere else), with an update of random numbers up to `size`.
std::shared_ptr<const HookStack> RevisionThatFiresOn(
    const CausalLm& model, const std::shared_ptr<const HookStack>& parent, Revision revision,
    const std::vector<LayerIndex>& layers, const std::vector<std::vector<TokenId>>& prompts,
    float size, std::mt19937& random);

// The same for `edits` random prompts, which are appended to `fires_on`, with updates that change
// the logits there.
std::shared_ptr<const HookStack> RandomRevision(const CausalLm& model,
                                                const std::shared_ptr<const HookStack>& parent,
                                                Revision revision,
                                                const std::vector<LayerIndex>& layers, int edits,
                                                std::mt19937& random,
                                                std::vector<std::vector<TokenId>>* fires_on);

}  // namespace amend

#endif  // AMEND_CORE_GENERATION_TESTING_RANDOM_REVISIONS_H_
