#ifndef AMEND_CLIENT_CLI_APP_H_
#define AMEND_CLIENT_CLI_APP_H_

#include <ostream>

namespace amend::client {

// The `amend` program. Reads the flags and AMEND_SERVER, runs one command, returns the exit code
// for the shell (see ExitCode in command.h). `terminal` says whether `err` is one.
int RunApp(int argc, const char* const* argv, std::ostream* out, std::ostream* err, bool terminal);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_APP_H_
