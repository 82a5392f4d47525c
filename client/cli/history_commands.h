#ifndef AMEND_CLIENT_CLI_HISTORY_COMMANDS_H_
#define AMEND_CLIENT_CLI_HISTORY_COMMANDS_H_

#include <cstdint>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend compare`, `watch`, `validate` and `audit`.
struct HistoryOptions {
  int64_t base = -1;
  int64_t revision = -1;
  // 0: all.
  int limit = 0;
  // Of `watch`, beside the state; 0: until it is stopped.
  int events = 0;
  // Of `validate`; -1: as the batch was judged.
  double min_reliability = -1;
  double min_generality = -1;
  double min_locality = -1;
};

// Declare subcommands; flags are stored in `options`, which outlives `app`.
CLI::App* AddCompareCommand(CLI::App* app, HistoryOptions* options);
CLI::App* AddWatchCommand(CLI::App* app, HistoryOptions* options);
CLI::App* AddValidateCommand(CLI::App* app, HistoryOptions* options);
CLI::App* AddAuditCommand(CLI::App* app, HistoryOptions* options);

// Run them; return the exit code. RunValidate returns kExitNotApplied when the gate says no.
int RunCompare(const CommandContext& context, const HistoryOptions& options);
int RunWatch(const CommandContext& context, const HistoryOptions& options);
int RunValidate(const CommandContext& context, const HistoryOptions& options);
int RunAudit(const CommandContext& context, const HistoryOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_HISTORY_COMMANDS_H_
