#ifndef AMEND_CORE_EDITING_SOLVER_INPUT_H_
#define AMEND_CORE_EDITING_SOLVER_INPUT_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/editing/background_factors.h"
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

// The factors of the edited layers. INVALID_ARGUMENT for a covariance of another size;
// FAILED_PRECONDITION for a singular one, see FactorBackground.
absl::StatusOr<BackgroundFactors> FactorCovariance(const ModelConfig& config,
                                                   const EditSettings& settings,
                                                   KeyCovariance covariance);

// Those of the edited layers, on the model's device. INVALID_ARGUMENT for a layer that `background`
// lacks or has in another size.
absl::StatusOr<BackgroundFactors> FactorsFor(const CausalLm& model, const EditSettings& settings,
                                             const BackgroundFactors& background);

// The rows of each edit. INVALID_ARGUMENT for no edits and, naming the field, for edits that
// ValidateEdits turns down.
absl::StatusOr<std::vector<EditRows>> CheckedRows(const Tokenizer& tokenizer,
                                                  const EditSettings& settings, int context_length,
                                                  absl::Span<const Edit> edits);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_SOLVER_INPUT_H_
