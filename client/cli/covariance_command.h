#ifndef AMEND_CLIENT_CLI_COVARIANCE_COMMAND_H_
#define AMEND_CLIENT_CLI_COVARIANCE_COMMAND_H_

#include <ostream>
#include <string>

#include "absl/status/statusor.h"

namespace amend::client {

// The program behind `amend covariance`: "amend-covariance" in the folder of the running program
// (`self`), in the folder jobs/ beside that one, as in a build tree, or in one of the folders of
// `path` (as in $PATH; may be empty). NOT_FOUND naming these places.
absl::StatusOr<std::string> FindCovarianceProgram(const std::string& self, const std::string& path);

// `amend covariance ARGUMENTS...`: this process becomes amend-covariance with the arguments behind
// `argv[1]`. Returns kExitUsage, with the reason on `err`, when it cannot.
int RunCovariance(int argc, const char* const* argv, std::ostream* err);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_COVARIANCE_COMMAND_H_
