#ifndef AMEND_CLIENT_CLI_GENERATE_COMMAND_H_
#define AMEND_CLIENT_CLI_GENERATE_COMMAND_H_

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend generate`.
struct GenerateOptions {
  std::string prompt;
  SelectorOptions at;
  int max_new_tokens = 0;
  float temperature = 0;
  int top_k = 0;
  float top_p = 0;
  float repetition_penalty = 0;
  uint64_t seed = 0;
  std::vector<std::string> stop;
  bool stream = false;
  bool trace_hooks = false;
};

// Declares the subcommand; its flags are stored in `options`, which outlives `app`.
CLI::App* AddGenerateCommand(CLI::App* app, GenerateOptions* options);

// Prints the continuation to `out` and what it took to `err`; returns the exit code.
int RunGenerate(const CommandContext& context, const GenerateOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_GENERATE_COMMAND_H_
