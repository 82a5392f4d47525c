#ifndef AMEND_CORE_EDITING_SETTLING_STEP_H_
#define AMEND_CORE_EDITING_SETTLING_STEP_H_

#include <cstdint>
#include <optional>

#include "core/base/types.h"

namespace amend {

// How far the estimate M of E[k k'] moved between two token counts. An update of one edit has the
// direction M^-1 k of its key, whatever lambda is. Plain data.
struct SettlingStep {
  LayerIndex layer;
  int64_t from_tokens = 0;
  int64_t to_tokens = 0;
  // |M - M_before| / |M|, Frobenius norms.
  double moment_change = 0;
  // Over a fixed sample of keys: cosine of M^-1 k with what it was before, and the relative change
  // of the leverage k' M^-1 k. Absent when one of the two moments was singular.
  std::optional<double> median_cosine;
  std::optional<double> smallest_cosine;
  std::optional<double> median_leverage_change;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_SETTLING_STEP_H_
