#ifndef AMEND_JOBS_STORE_STORE_COMMANDS_H_
#define AMEND_JOBS_STORE_STORE_COMMANDS_H_

#include <ostream>

#include "jobs/store/command_line.h"

namespace amend::jobs {

// Where a command writes to. Nothing is owned.
struct StoreOutput {
  // Results.
  std::ostream* out = nullptr;
  // Progress that is redrawn, and errors.
  std::ostream* err = nullptr;
  // `err` is a terminal: progress may redraw its line.
  bool terminal = false;
};

// Does what a command line asks for. Returns 0; 1 when something is damaged or failed; 2 for what
// the user has to correct.
int RunStoreCommand(const StoreCommandLine& command_line, const StoreOutput& output);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_STORE_STORE_COMMANDS_H_
