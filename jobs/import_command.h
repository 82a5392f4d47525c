#ifndef AMEND_JOBS_IMPORT_COMMAND_H_
#define AMEND_JOBS_IMPORT_COMMAND_H_

#include "jobs/command_line.h"
#include "jobs/job.h"

namespace amend::jobs {

// `amend covariance import`: makes the file that --out names from one .npz file per layer. Returns
// an ExitCode.
int RunImport(const JobContext& context, const ImportOptions& options);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_IMPORT_COMMAND_H_
