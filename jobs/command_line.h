#ifndef AMEND_JOBS_COMMAND_LINE_H_
#define AMEND_JOBS_COMMAND_LINE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace amend::jobs {

struct ComputeOptions {
  std::string model_directory;
  std::string text_file;
  std::string out_file;
  // Exactly one of the two is given.
  std::vector<int> layers;
  std::string profile_file;
  // 0: all of the text.
  int64_t max_tokens = 0;
  // 0: the profile's, else the context length.
  int max_tokens_per_text = 0;
  // As amendd's.
  std::string device = "auto";
  std::string dtype = "float32";
  int threads = 0;
  double checkpoint_seconds = 30;
  bool restart = false;
  bool overwrite = false;
  bool no_settling = false;
};

struct ImportOptions {
  std::string model_directory;
  // "FILE" or "LAYER=FILE".
  std::vector<std::string> npz_files;
  std::string out_file;
  bool overwrite = false;
};

// What the command line of amend-covariance asks for.
struct CommandLine {
  enum class Command { kCompute, kImport };
  Command command = Command::kCompute;
  ComputeOptions compute;
  ImportOptions import;
  // Set when there is nothing to do: 0 for --help, 2 for wrong flags.
  std::optional<int> exit_code;
  // What to say then: on stdout for 0, else on stderr.
  std::string message;
};

// Pure; thread-safe.
CommandLine ParseCommandLine(int argc, const char* const* argv);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_COMMAND_LINE_H_
