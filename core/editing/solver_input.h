#ifndef AMEND_CORE_EDITING_SOLVER_INPUT_H_
#define AMEND_CORE_EDITING_SOLVER_INPUT_H_

#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/cholesky_factor.h"
#include "core/editing/edit.h"
#include "core/editing/edit_rows.h"
#include "core/editing/edit_settings.h"
#include "core/editing/key_covariance.h"
#include "core/model/causal_lm.h"
#include "core/model/model_config.h"
#include "core/tokenizer/tokenizer.h"

// What a solver is given, checked, in the form that it computes with.

namespace amend {

// INVALID_ARGUMENT, naming both values, for settings that do not fit each other or the model.
absl::Status CheckSettings(const EditSettings& settings, const ModelConfig& config);

// The factor of lambda * Cov of each edited layer. INVALID_ARGUMENT for a layer that `covariance`
// lacks or has in another size; FAILED_PRECONDITION for one that is not positive definite.
absl::StatusOr<std::map<LayerIndex, std::shared_ptr<const CholeskyFactor>>> BackgroundFactors(
    const CausalLm& model, const EditSettings& settings, const KeyCovariance& covariance);

// The rows of each edit. INVALID_ARGUMENT for no edits and, naming the field, for edits that
// ValidateEdits turns down.
absl::StatusOr<std::vector<EditRows>> CheckedRows(const Tokenizer& tokenizer,
                                                  const EditSettings& settings, int context_length,
                                                  absl::Span<const Edit> edits);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_SOLVER_INPUT_H_
