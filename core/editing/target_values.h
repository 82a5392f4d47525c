#ifndef AMEND_CORE_EDITING_TARGET_VALUES_H_
#define AMEND_CORE_EDITING_TARGET_VALUES_H_

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/edit.h"
#include "core/editing/edit_rows.h"
#include "core/editing/edit_settings.h"
#include "core/model/causal_lm.h"
#include "core/model/hook_point.h"

namespace amend {

struct TargetValues {
  at::Tensor
      z;  // [B, d], float32: row i is the wanted output of block l_m at edit i's lookup index
  std::vector<TargetReport> reports;
};

// `model` made ready for OptimizeTargetValues: the blocks above the last edited layer (in float32
// all blocks, where they fit) and the head with packed weights of settings.target_precision, where
// the model is in float32 on the CPU and the packed weights take at most 4 GiB; else `model`
// itself. INVALID_ARGUMENT when the machine has no products of that precision.
absl::StatusOr<std::shared_ptr<const CausalLm>> PrepareForTargets(
    std::shared_ptr<const CausalLm> model, const EditSettings& settings);

// The rows that one edit's loss reads: each prompt followed by the target but its last token, then
// the whole essence prompt.
std::vector<std::vector<TokenId>> TargetRows(const EditRows& edit);

// Runs the blocks up to l_m (the last edited one) under the hooks of the parent revision. Returns
// what block l_m puts out for all tokens of all TargetRows of `edits`, packed one row behind the
// other: [T, d]. Must be thread-safe.
using LowerBlocks = std::function<at::Tensor(absl::Span<const EditRows> edits)>;

// Finds what block l_m should put out at each subject's last token so that
// the model continues with the target (arXiv 2403.05330, section 3.1; ROME, arXiv 2202.05262,
// section 3.1). No layer above l_m has a hook.
//
// Only what depends on delta is run at every step: positions from the lookup index on, blocks above
// l_m, and the output head where the loss reads it. All edits share each step; finished ones are
// dropped. Runs on ComputeThreads() threads, each with edits of its own.
//
// `after_step(done, total)` is called between steps; when it returns false the result is CANCELLED.
// ABORTED, naming the edit, when a loss is not finite.
absl::StatusOr<TargetValues> OptimizeTargetValues(
    const CausalLm& model, const LowerBlocks& lower_blocks, const EditSettings& settings,
    absl::Span<const EditRows> edits, const std::function<bool(int done, int total)>& after_step);

// With `hooks` that look at each token by itself (LEVERAGE): all rows run packed.
absl::StatusOr<TargetValues> OptimizeTargetValues(
    const CausalLm& model, const DownProjectionHook& hooks, const EditSettings& settings,
    absl::Span<const EditRows> edits, const std::function<bool(int done, int total)>& after_step);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_TARGET_VALUES_H_
