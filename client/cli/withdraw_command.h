#ifndef AMEND_CLIENT_CLI_WITHDRAW_COMMAND_H_
#define AMEND_CLIENT_CLI_WITHDRAW_COMMAND_H_

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend withdraw`.
struct WithdrawOptions {
  // "3:0" is edit 0 of revision 3; "3" all of its edits.
  std::vector<std::string> edits;
  std::string reason;
  // -1: not given.
  int64_t revision = -1;
  std::string label;
  std::string etag;
  bool stage_only = false;
  bool dry_run = false;
};

// Declares the subcommand; its flags are stored in `options`, which outlives `app`.
CLI::App* AddWithdrawCommand(CLI::App* app, WithdrawOptions* options);

// Runs it; returns the exit code: kExitNotApplied where the gate turned it down.
int RunWithdraw(const CommandContext& context, const WithdrawOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_WITHDRAW_COMMAND_H_
