#ifndef AMEND_CLIENT_CLI_EXPORT_COMMAND_H_
#define AMEND_CLIENT_CLI_EXPORT_COMMAND_H_

#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend export`.
struct ExportOptions {
  SelectorOptions at;
  std::string out;
  bool projections_only = false;
};

// Declares the subcommand; flags are stored in `options`, which outlives `app`.
CLI::App* AddExportCommand(CLI::App* app, ExportOptions* options);

// Runs it; returns the exit code.
int RunExport(const CommandContext& context, const ExportOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_EXPORT_COMMAND_H_
