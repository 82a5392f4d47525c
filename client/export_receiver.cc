#include "client/export_receiver.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace amend::client {
namespace {

namespace fs = std::filesystem;
namespace v1 = ::amend::v1;

absl::Status FileError(absl::string_view doing, const std::string& path) {
  return absl::UnavailableError(
      absl::StrCat("cannot ", doing, " ", path, ": ", std::strerror(errno)));
}

absl::Status SyncFolder(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileError("open", path);
  const bool synced = fsync(fd) == 0;
  close(fd);
  return synced ? absl::OkStatus() : FileError("sync", path);
}

// A plain name: a server does not choose where this client writes.
bool IsFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

std::string ParentOf(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ExportReceiver>> ExportReceiver::Create(const std::string& path,
                                                                       Kind kind) {
  std::string out = path;
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  std::error_code error;
  const fs::file_status status = fs::symlink_status(out, error);
  const bool empty_folder =
      kind == Kind::kDirectory && fs::is_directory(status) && fs::is_empty(out, error) && !error;
  if (fs::exists(status) && !empty_folder) {
    return absl::FailedPreconditionError(absl::StrCat(out, " is there already"));
  }
  std::string temporary = absl::StrCat(out, ".partial-XXXXXX");
  if (out.empty() || mkdtemp(temporary.data()) == nullptr) {
    return absl::NotFoundError(absl::StrCat("cannot write ", out, ": ", std::strerror(errno)));
  }
  // As mkdir would have made it.
  const mode_t mask = umask(0);
  umask(mask);
  chmod(temporary.c_str(), 0777 & ~mask);
  return std::unique_ptr<ExportReceiver>(new ExportReceiver(out, kind, std::move(temporary)));
}

ExportReceiver::ExportReceiver(std::string out, Kind kind, std::string temporary)
    : out_(std::move(out)), kind_(kind), temporary_(std::move(temporary)) {}

ExportReceiver::~ExportReceiver() {
  if (fd_ >= 0) close(fd_);
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

std::string ExportReceiver::PathOf(const std::string& name) const {
  return absl::StrCat(temporary_, "/", name);
}

absl::Status ExportReceiver::Receive(const v1::ExportRevisionResponse& message) {
  if (message.has_start() && !begun_) return Begin(message.start());
  if (message.has_chunk() && begun_) return Write(message.chunk());
  return absl::DataLossError("the server's messages are out of order");
}

absl::Status ExportReceiver::Begin(const v1::ExportStart& start) {
  begun_ = true;
  start_ = start;
  for (const v1::ExportFile& file : start.files()) {
    if (IsFileName(file.name())) continue;
    return absl::DataLossError(absl::StrCat("\"", file.name(), "\" is no file name"));
  }
  if (kind_ == Kind::kSingleFile && start.files_size() != 1) {
    return absl::DataLossError(
        absl::StrCat("the server sends ", start.files_size(), " files, one was expected"));
  }
  return absl::OkStatus();
}

absl::Status ExportReceiver::OpenFile() {
  const std::string path = PathOf(start_.files(static_cast<int>(files_.size())).name());
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) return FileError("create", path);
  digest_ = std::make_unique<Sha256>();
  file_bytes_ = 0;
  return absl::OkStatus();
}

absl::Status ExportReceiver::Write(const v1::ExportChunk& chunk) {
  const auto file = static_cast<int>(files_.size());
  if (file >= start_.files_size() || chunk.file() != file) {
    return absl::DataLossError(
        absl::StrCat("the server sent bytes of file ", chunk.file(), " instead of ", file));
  }
  if (fd_ < 0) {
    const absl::Status opened = OpenFile();
    if (!opened.ok()) return opened;
  }
  absl::string_view rest = chunk.bytes();
  digest_->Update(rest);
  file_bytes_ += static_cast<int64_t>(rest.size());
  bytes_ += static_cast<int64_t>(rest.size());
  while (!rest.empty()) {
    const ssize_t written = write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError("write", PathOf(start_.files(file).name()));
    rest.remove_prefix(static_cast<size_t>(written));
  }
  return chunk.sha256().empty() ? absl::OkStatus() : CloseFile(chunk.sha256());
}

absl::Status ExportReceiver::CloseFile(const std::string& sha256) {
  const v1::ExportFile& file = start_.files(static_cast<int>(files_.size()));
  const bool synced = fsync(fd_) == 0;
  close(fd_);
  fd_ = -1;
  if (!synced) return FileError("sync", PathOf(file.name()));
  if (file_bytes_ != file.size()) {
    return absl::DataLossError(absl::StrCat(file.name(), " has ", file_bytes_,
                                            " bytes, the server announced ", file.size()));
  }
  const std::string found = digest_->HexDigest();
  if (found != sha256) {
    return absl::DataLossError(
        absl::StrCat(file.name(), " arrived with sha-256 ", found, ", the server sent ", sha256));
  }
  files_.push_back({file.name(), file_bytes_, sha256});
  return absl::OkStatus();
}

absl::Status ExportReceiver::Finish() {
  if (!begun_ || fd_ >= 0 || static_cast<int>(files_.size()) != start_.files_size()) {
    return absl::DataLossError(absl::StrCat("the export ended after ", files_.size(), " of ",
                                            start_.files_size(), " files"));
  }
  absl::Status synced = SyncFolder(temporary_);
  if (!synced.ok()) return synced;
  const std::string from = kind_ == Kind::kDirectory ? temporary_ : PathOf(start_.files(0).name());
  if (std::rename(from.c_str(), out_.c_str()) != 0) return FileError("rename to", out_);
  return SyncFolder(ParentOf(out_));
}

}  // namespace amend::client
