#ifndef AMEND_CLIENT_CLI_LABEL_COMMANDS_H_
#define AMEND_CLIENT_CLI_LABEL_COMMANDS_H_

#include <cstdint>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend labels` and `amend label`.
struct LabelOptions {
  std::string label;
  // -1: the label is deleted.
  int64_t revision = -1;
  std::string etag;
  std::string reason;
};

// Declare subcommands; flags are stored in `options`, which outlives `app`.
CLI::App* AddLabelsCommand(CLI::App* app);
CLI::App* AddLabelCommand(CLI::App* app, LabelOptions* options);

// Run them; return the exit code. RunLabel sets the label, or deletes it when there is no revision.
int RunLabels(const CommandContext& context);
int RunLabel(const CommandContext& context, const LabelOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_LABEL_COMMANDS_H_
