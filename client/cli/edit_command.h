#ifndef AMEND_CLIENT_CLI_EDIT_COMMAND_H_
#define AMEND_CLIENT_CLI_EDIT_COMMAND_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/string_view.h"
#include "client/cli/command.h"

namespace amend::client {

// Flags of `amend edit`: a file of edits, or one edit.
struct EditOptions {
  std::string file;
  int batch = 30;
  int limit = 0;
  int skip = 0;
  bool skip_bad = false;
  std::string session;
  int retries = 8;
  bool stage_only = false;
  std::string prompt;
  std::string subject;
  std::string target;
  std::vector<std::string> paraphrases;
  std::vector<std::pair<std::string, std::string>> probes;
  double min_reliability = -1;
  double min_generality = -1;
  double min_locality = -1;
  double min_background = -1;
  double min_retention = -1;
  double max_perplexity_change = -1;
  bool drop_failing = false;
};

// Declares the subcommand; its flags are stored in `options`, which outlives `app`.
CLI::App* AddEditCommand(CLI::App* app, EditOptions* options);

// Runs it; returns the exit code.
int RunEdit(const CommandContext& context, const EditOptions& options);

// The session that `edit --file` uses unless told otherwise: the same for the same file content and
// flags, so that the same command resumes.
std::string DefaultSession(absl::string_view content, const EditOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_EDIT_COMMAND_H_
