#ifndef AMEND_JOBS_STORE_COMMAND_LINE_H_
#define AMEND_JOBS_STORE_COMMAND_LINE_H_

#include <cstdint>
#include <optional>
#include <string>

namespace amend::jobs {

// What the command line of amend-store asks for.
struct StoreCommandLine {
  enum class Command { kVerify, kBackups, kRestore };
  Command command = Command::kVerify;
  // kVerify: the data directory of a server that does not run.
  std::string data_directory;
  // kBackups, kRestore: where the backups are.
  std::string backup_directory;
  // kRestore: 0 is the newest one; and the data directory to make.
  int64_t backup = 0;
  std::string target;
  // One JSON object per line instead of text.
  bool json = false;
  // Set when there is nothing to do: 0 for --help, 2 for wrong flags.
  std::optional<int> exit_code;
  // What to say then: on stdout for 0, else on stderr.
  std::string message;
};

// Pure; thread-safe.
StoreCommandLine ParseStoreCommandLine(int argc, const char* const* argv);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_STORE_COMMAND_LINE_H_
