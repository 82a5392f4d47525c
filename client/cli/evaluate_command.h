#ifndef AMEND_CLIENT_CLI_EVALUATE_COMMAND_H_
#define AMEND_CLIENT_CLI_EVALUATE_COMMAND_H_

#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend evaluate`.
struct EvaluateOptions {
  std::string file;
  int limit = 0;
  int skip = 0;
  bool skip_bad = false;
  SelectorOptions at;
  int64_t against = 0;
};

// Declares the subcommand; its flags are stored in `options`, which outlives `app`.
CLI::App* AddEvaluateCommand(CLI::App* app, EvaluateOptions* options);

// Prints the scores; returns the exit code. Low scores are not an error.
int RunEvaluate(const CommandContext& context, const EvaluateOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_EVALUATE_COMMAND_H_
