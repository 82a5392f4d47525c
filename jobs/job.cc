#include "jobs/job.h"

#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"

namespace amend::jobs {

namespace fs = std::filesystem;

int Fail(const JobContext& context, const absl::Status& status) {
  *context.err << "amend covariance: " << status.message() << std::endl;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
      return kExitUsage;
    default:
      return kExitFailed;
  }
}

absl::Status CheckOutput(const std::string& path, bool overwrite) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored))
    return absl::InvalidArgumentError(absl::StrCat(path, " is a folder"));
  if (!overwrite && fs::exists(path, ignored)) {
    return absl::AlreadyExistsError(absl::StrCat(path, " exists: --overwrite replaces it"));
  }
  const fs::path parent = fs::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  if (!fs::is_directory(folder, ignored) || access(folder.c_str(), W_OK) != 0) {
    return absl::NotFoundError(
        absl::StrCat("cannot write ", path, ": ", folder, " is no folder that can be written"));
  }
  return absl::OkStatus();
}

}  // namespace amend::jobs
