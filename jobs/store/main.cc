// amend-store: verifies and restores stores without a server. `amend store` runs it for what needs
// the disk. Exit codes: 0 done or intact, 1 damaged or failed, 2 wrong flags or an unusable
// directory.
#include <unistd.h>

#include <iostream>

#include "jobs/store/command_line.h"
#include "jobs/store/store_commands.h"

int main(int argc, char** argv) {
  const amend::jobs::StoreCommandLine line = amend::jobs::ParseStoreCommandLine(argc, argv);
  if (line.exit_code.has_value()) {
    (*line.exit_code == 0 ? std::cout : std::cerr) << line.message << std::endl;
    return *line.exit_code;
  }
  return amend::jobs::RunStoreCommand(line, {&std::cout, &std::cerr, isatty(STDERR_FILENO) == 1});
}
