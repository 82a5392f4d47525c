#ifndef AMEND_CORE_EDITING_BACKGROUND_FACTORS_H_
#define AMEND_CORE_EDITING_BACKGROUND_FACTORS_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/types.h"
#include "core/editing/cholesky_factor.h"
#include "core/editing/key_covariance.h"

namespace amend {

// Per edited layer the factor of lambda * Cov: where every line of a model begins. 4 d_in^2 bytes a
// layer, shared by all lines.
using BackgroundFactors = std::map<LayerIndex, std::shared_ptr<const CholeskyFactor>>;

// On the CPU. FAILED_PRECONDITION, naming layer and leading minor, for a covariance that is
// singular: it needs more text.
absl::StatusOr<std::shared_ptr<const CholeskyFactor>> FactorBackground(
    const KeyCovariance::Layer& covariance, double lambda);

// One factor in a file: a line of text with the format's name, `origin`, the size and the sha-256
// of what follows; then the block columns as little-endian float64. `origin` says what the factor
// was made from and has no line break. Save writes to a temporary name, syncs and renames.
absl::Status SaveCholeskyFactor(const CholeskyFactor& factor, absl::string_view origin,
                                const std::string& path);
// NOT_FOUND without a file; DATA_LOSS, naming the path and what is wrong, for one that is damaged
// or of another origin.
absl::StatusOr<std::shared_ptr<const CholeskyFactor>> LoadCholeskyFactor(absl::string_view origin,
                                                                         const std::string& path);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_BACKGROUND_FACTORS_H_
