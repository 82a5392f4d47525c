#ifndef AMEND_JOBS_IMPORT_COVARIANCE_H_
#define AMEND_JOBS_IMPORT_COVARIANCE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/matrix.h"
#include "core/base/types.h"

namespace amend::jobs {

// A file of MEMIT's statistics and the layer it is of.
struct LayerFile {
  LayerIndex layer;
  std::string path;
};

// "LAYER=FILE", or a FILE whose name says it as MEMIT's do: "transformer.h.13.mlp.c_proj_...", or
// "model.layers.13.mlp.down_proj_...". INVALID_ARGUMENT, naming the argument, when there is no
// layer in it.
absl::StatusOr<LayerFile> ParseLayerFile(const std::string& argument);

// One layer's mean moment.
struct ImportedMoment {
  Matrix moment;  // [d_in, d_in]
  int64_t tokens = 0;
};

// Reads "mom2.mom2" [d_in, d_in], the sum of k k', and "mom2.count", the number of tokens, as
// MEMIT's SecondMoment saves them (numpy.savez). The moment is their quotient, made exactly
// symmetric. INVALID_ARGUMENT, naming file, key and both values, for another shape, numbers that
// are not finite, a matrix that is not symmetric, a negative diagonal or a count below 1.
absl::StatusOr<ImportedMoment> ImportMoment(const std::string& path, int64_t d_in);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_IMPORT_COVARIANCE_H_
