#ifndef AMEND_CLIENT_CLI_BENCH_COMMAND_H_
#define AMEND_CLIENT_CLI_BENCH_COMMAND_H_

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend bench`.
struct BenchOptions {
  std::vector<std::string> prompts;
  std::string prompt_file;
  int streams = 4;
  double rate = 0;
  int64_t requests = 0;
  double seconds = 0;
  int64_t warmup = 0;
  int max_new_tokens = 64;
  float temperature = 0;
  uint64_t seed = 0;
  SelectorOptions at;
};

// Declares the subcommand; its flags are stored in `options`, which outlives `app`.
CLI::App* AddBenchCommand(CLI::App* app, BenchOptions* options);

// Prints the report; returns the exit code: kExitServerError when a request failed.
int RunBench(const CommandContext& context, const BenchOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_BENCH_COMMAND_H_
