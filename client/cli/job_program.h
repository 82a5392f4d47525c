#ifndef AMEND_CLIENT_CLI_JOB_PROGRAM_H_
#define AMEND_CLIENT_CLI_JOB_PROGRAM_H_

#include <ostream>
#include <string>

#include "absl/status/statusor.h"

namespace amend::client {

// A program that `amend` hands over to: work without a server (docs/decisions/0005).
struct JobProgram {
  const char* name;
  // Where it lies in a build tree, from the folder that holds client/.
  const char* built;
};
inline constexpr JobProgram kCovarianceProgram{"amend-covariance", "jobs/amend-covariance"};
inline constexpr JobProgram kStoreProgram{"amend-store", "jobs/store/amend-store"};

// The program's file: in the folder of the running program (`self`), else where a build tree has
// it, else in one of the folders of `path` (as in $PATH; may be empty). NOT_FOUND naming these
// places.
absl::StatusOr<std::string> FindJobProgram(const JobProgram& program, const std::string& self,
                                           const std::string& path);

// This process becomes the program, with the arguments behind `argv[1]`. Returns kExitUsage, with
// the reason on `err`, when it cannot.
int RunJobProgram(const JobProgram& program, int argc, const char* const* argv, std::ostream* err);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_JOB_PROGRAM_H_
