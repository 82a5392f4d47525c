#ifndef AMEND_CLIENT_CLI_CANCEL_COMMAND_H_
#define AMEND_CLIENT_CLI_CANCEL_COMMAND_H_

#include <cstdint>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend cancel`.
struct CancelOptions {
  std::string session;
  int64_t offset = 0;
  std::string reason;
};

// Declares the subcommand; its flags are stored in `options`, which outlives `app`.
CLI::App* AddCancelCommand(CLI::App* app, CancelOptions* options);

// Runs it; returns the exit code.
int RunCancel(const CommandContext& context, const CancelOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_CANCEL_COMMAND_H_
