#ifndef AMEND_SERVER_COMMAND_LINE_H_
#define AMEND_SERVER_COMMAND_LINE_H_

#include <optional>
#include <string>

#include "server/event_log.h"
#include "server/server_options.h"

namespace amend {

// What the command line of amendd asks for.
struct CommandLine {
  ServerOptions options;
  // Only says what the server would do.
  bool check_config = false;
  // Set when there is nothing to start: 0 for --help and --version, 2 for wrong flags and a wrong
  // file.
  std::optional<int> exit_code;
  // What to say then: on stdout for 0, else on stderr.
  std::string message;
};

// Flags win over the file that --config names. `reread` of the options parses `argv`, which
// outlives them, again. Pure but for reading that file; thread-safe.
CommandLine ParseCommandLine(int argc, const char* const* argv);

// How the options want to be logged.
EventLog::Options LogOptionsOf(const ServerOptions& options);

}  // namespace amend

#endif  // AMEND_SERVER_COMMAND_LINE_H_
