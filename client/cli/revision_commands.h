#ifndef AMEND_CLIENT_CLI_REVISION_COMMANDS_H_
#define AMEND_CLIENT_CLI_REVISION_COMMANDS_H_

#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend revisions`, `amend promote`, `amend rollback` and `amend status`.
struct RevisionOptions {
  int limit = 0;
  // -1: not given.
  int64_t show = -1;
  int64_t promote = -1;
  int64_t rollback_to = -1;
  std::string label;
  std::string etag;
  std::string reason;
};

// Declare subcommands; flags are stored in `options`, which outlives `app`.
CLI::App* AddRevisionsCommand(CLI::App* app, RevisionOptions* options);
CLI::App* AddPromoteCommand(CLI::App* app, RevisionOptions* options);
CLI::App* AddRollbackCommand(CLI::App* app, RevisionOptions* options);
CLI::App* AddStatusCommand(CLI::App* app);

// Run them; return the exit code. RunRevisions shows one revision when options.show is set.
int RunRevisions(const CommandContext& context, const RevisionOptions& options);
int RunPromote(const CommandContext& context, const RevisionOptions& options);
int RunRollback(const CommandContext& context, const RevisionOptions& options);
int RunStatus(const CommandContext& context);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_REVISION_COMMANDS_H_
