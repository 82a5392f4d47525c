#include "client/cli/job_program.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"

namespace amend::client {
namespace {

namespace fs = std::filesystem;

bool IsProgram(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         access(path.c_str(), X_OK) == 0;
}

}  // namespace

absl::StatusOr<std::string> FindJobProgram(const JobProgram& program, const std::string& self,
                                           const std::string& path) {
  const fs::path folder = fs::path(self).parent_path();
  const std::string beside = (folder / program.name).string();
  const std::string built = (folder.parent_path() / program.built).string();
  for (const std::string& candidate : {beside, built}) {
    if (IsProgram(candidate)) return candidate;
  }
  for (const absl::string_view place : absl::StrSplit(path, ':', absl::SkipEmpty())) {
    const std::string candidate = absl::StrCat(place, "/", program.name);
    if (IsProgram(candidate)) return candidate;
  }
  return absl::NotFoundError(absl::StrCat("the program ", program.name, " is neither ", beside,
                                          " nor ", built, " nor in PATH (",
                                          path.empty() ? "which is empty" : path, ")"));
}

int RunJobProgram(const JobProgram& program, int argc, const char* const* argv, std::ostream* err) {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const char* const path = std::getenv("PATH");
  const absl::StatusOr<std::string> file =
      FindJobProgram(program, self.string(), path == nullptr ? "" : path);
  if (!file.ok()) {
    *err << "error: " << file.status().message() << std::endl;
    return kExitUsage;
  }
  std::vector<char*> arguments = {const_cast<char*>(program.name)};
  for (int i = 2; i < argc; ++i) arguments.push_back(const_cast<char*>(argv[i]));
  arguments.push_back(nullptr);
  execv(file->c_str(), arguments.data());
  *err << "error: cannot run " << *file << ": " << std::strerror(errno) << std::endl;
  return kExitUsage;
}

}  // namespace amend::client
