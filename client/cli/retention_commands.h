#ifndef AMEND_CLIENT_CLI_RETENTION_COMMANDS_H_
#define AMEND_CLIENT_CLI_RETENTION_COMMANDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend pin`, `unpin`, `delete`, `undelete` and `purge`.
struct RetentionOptions {
  int64_t revision = -1;
  bool now = false;
  bool dry_run = false;
  std::string reason;
};

// Declares `pin`, `unpin`, `delete` and `undelete`, in this order; flags are stored in `options`,
// which outlives `app`.
std::vector<CLI::App*> AddMarkCommands(CLI::App* app, RetentionOptions* options);
CLI::App* AddPurgeCommand(CLI::App* app, RetentionOptions* options);

// Run them; return the exit code. `name` is that of the subcommand.
int RunMark(const CommandContext& context, const std::string& name,
            const RetentionOptions& options);
int RunPurge(const CommandContext& context, const RetentionOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_RETENTION_COMMANDS_H_
