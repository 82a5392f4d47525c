#ifndef AMEND_CLIENT_CLI_STORE_COMMAND_H_
#define AMEND_CLIENT_CLI_STORE_COMMAND_H_

#include <cstdint>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend store ...`.
struct StoreOptions {
  int64_t delete_backup = 0;
};

// Whether these arguments of amend are a store command that needs the disk and no server:
// `store restore ...`, and `store verify` or `store backups` with --data or --from. Another program
// runs it.
bool IsOfflineStoreCommand(int argc, const char* const* argv);

// Declares `amend store`; flags are stored in `options`, which outlives `app`.
CLI::App* AddStoreCommand(CLI::App* app, StoreOptions* options);

// Runs what was parsed; returns the exit code: kExitNotApplied for a store with damages.
int RunStore(const CommandContext& context, const CLI::App& command, const StoreOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_STORE_COMMAND_H_
