#ifndef AMEND_JOBS_SETTLING_REPORT_H_
#define AMEND_JOBS_SETTLING_REPORT_H_

#include <string>

#include "core/editing/covariance_run.h"

namespace amend::jobs {

// How the estimate settled, as a table for people: a line per layer and step, and what the columns
// mean. Empty when there is no step.
std::string SettlingTable(const CovarianceRun& run);

// The same as one JSON object with a line break at its end: {"tokens", "lines", "steps": [{"layer",
// "from_tokens", "to_tokens", "moment_change", "direction_cosine_median",
// "direction_cosine_smallest", "leverage_change_median"}]}. What could not be computed is null.
std::string SettlingJson(const CovarianceRun& run);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_SETTLING_REPORT_H_
