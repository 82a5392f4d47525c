#ifndef AMEND_SERVER_SOLVER_CACHE_H_
#define AMEND_SERVER_SOLVER_CACHE_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/editing/background_factors.h"
#include "core/editing/edit_settings.h"
#include "core/editing/key_covariance.h"

namespace amend {

struct SolverCacheOptions {
  // Where "solver-layer{l}.factor" is kept, 4 d_in^2 bytes each.
  std::string data_directory;
  // sha-256 (hex) of the covariance's file.
  std::string covariance_digest;
  // Told what is computed ("solver: factoring the key covariance of layer 5 (2 of 4)"), and what is
  // wrong with a file. May be null.
  std::function<void(absl::string_view)> progress;
};

// The Cholesky factor of lambda * Cov for each edited layer. Reads those that are kept, computes
// the others and keeps them. A file is used only where it was made from this covariance, lambda and
// layer and has the digest it says; any other is computed again and replaced. A file that cannot be
// written is reported, not an error. FAILED_PRECONDITION for a singular covariance (see
// FactorBackground).
absl::StatusOr<BackgroundFactors> ObtainBackgroundFactors(const EditSettings& settings,
                                                          const KeyCovariance& covariance,
                                                          const SolverCacheOptions& options);

}  // namespace amend

#endif  // AMEND_SERVER_SOLVER_CACHE_H_
