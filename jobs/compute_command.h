#ifndef AMEND_JOBS_COMPUTE_COMMAND_H_
#define AMEND_JOBS_COMPUTE_COMMAND_H_

#include "jobs/command_line.h"
#include "jobs/job.h"

namespace amend::jobs {

// `amend covariance compute`: writes the file that --out names and, beside it, how the estimate
// settled (FILE.settling.json). While it runs, FILE.partial is what an interrupted run goes on
// from. Returns an ExitCode.
int RunCompute(const JobContext& context, const ComputeOptions& options);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_COMPUTE_COMMAND_H_
