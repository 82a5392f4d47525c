#include "server/solver_cache.h"

#include <filesystem>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

void Report(const SolverCacheOptions& options, absl::string_view text) {
  if (options.progress) options.progress(text);
}

const KeyCovariance::Layer* Find(const KeyCovariance& covariance, LayerIndex layer) {
  for (const KeyCovariance::Layer& candidate : covariance.layers) {
    if (candidate.layer == layer) return &candidate;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<BackgroundFactors> ObtainBackgroundFactors(const EditSettings& settings,
                                                          const KeyCovariance& covariance,
                                                          const SolverCacheOptions& options) {
  BackgroundFactors factors;
  size_t at = 0;
  for (const LayerIndex layer : settings.layers) {
    ++at;
    const std::string path =
        (fs::path(options.data_directory) / absl::StrCat("solver-layer", layer.value(), ".factor"))
            .string();
    // All digits of lambda: what differs in the last one is another factor.
    const std::string origin =
        absl::StrFormat("covariance %s lambda %.17g layer %d", options.covariance_digest,
                        settings.lambda, layer.value());
    absl::StatusOr<std::shared_ptr<const CholeskyFactor>> kept = LoadCholeskyFactor(origin, path);
    if (kept.ok()) {
      factors[layer] = *std::move(kept);
      continue;
    }
    if (!absl::IsNotFound(kept.status()))
      Report(options, absl::StrCat("solver: not used: ", kept.status().message()));
    const KeyCovariance::Layer* moment = Find(covariance, layer);
    if (moment == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("the key covariance lacks edited layer ", layer.value()));
    }
    Report(options, absl::StrCat("solver: factoring the key covariance of layer ", layer.value(),
                                 " (", at, " of ", settings.layers.size(), ")"));
    AMEND_ASSIGN_OR_RETURN(factors[layer], FactorBackground(*moment, settings.lambda));
    const absl::Status saved = SaveCholeskyFactor(*factors[layer], origin, path);
    if (!saved.ok()) Report(options, absl::StrCat("solver: not kept: ", saved.message()));
  }
  return factors;
}

}  // namespace amend
