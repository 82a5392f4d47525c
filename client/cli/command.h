#ifndef AMEND_CLIENT_CLI_COMMAND_H_
#define AMEND_CLIENT_CLI_COMMAND_H_

#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "amend/v1/generation.pb.h"
#include "client/client.h"
#include "client/dataset.h"
#include "nlohmann/json.hpp"

namespace amend::client {

// What `amend` returns to the shell. Part of its interface: see `amend --help`.
enum ExitCode {
  kExitOk = 0,
  // A batch was rejected by the gate or failed.
  kExitNotApplied = 1,
  // Wrong flags, an unreadable or malformed file.
  kExitUsage = 2,
  kExitUnreachable = 3,
  kExitServerError = 4,
};

// What a command works with. Nothing is owned.
struct CommandContext {
  Client* client = nullptr;
  // Results.
  std::ostream* out = nullptr;
  // Progress that is redrawn, notes and errors.
  std::ostream* err = nullptr;
  // One JSON object per line instead of text.
  bool json = false;
  // `err` is a terminal: progress may redraw its line.
  bool terminal = false;
};

// JSON whose fields keep the order in which they were set.
using OrderedJson = nlohmann::ordered_json;

// Prints `error: ...` (with --json an object with the field "error") and returns the exit code:
// kExitUnreachable for a lost connection, else kExitServerError.
int Fail(const CommandContext& context, const absl::Status& status);

// The same for what the user has to correct: kExitUsage.
int FailUsage(const CommandContext& context, const absl::Status& status);

// One line of JSON to `out`, flushed. Text that is not UTF-8 is made so.
void PrintJson(const CommandContext& context, const OrderedJson& object);

// Reads a file of edits. With `skip_bad`, records that are wrong are left out, with a note to
// `err`.
absl::StatusOr<std::vector<EditRecord>> ReadEditFile(const CommandContext& context,
                                                     const std::string& path, bool skip_bad);

// --revision and --label of the commands that read through a revision.
struct SelectorOptions {
  int64_t revision = -1;
  std::string label;
};
amend::v1::RevisionSelector ToSelector(const SelectorOptions& options);

// "0.93", or "-" when there is no such number.
std::string Score(bool has, double value);

// `text` in at least `width` columns of the terminal, cut to them with "..." when longer. Counts
// code points, not bytes.
std::string Column(absl::string_view text, size_t width);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_COMMAND_H_
