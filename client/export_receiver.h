#ifndef AMEND_CLIENT_EXPORT_RECEIVER_H_
#define AMEND_CLIENT_EXPORT_RECEIVER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "amend/v1/revision.pb.h"
#include "client/sha256.h"

namespace amend::client {

struct ReceivedFile {
  std::string name;
  int64_t size = 0;
  std::string sha256;
};

// Writes what ExportRevision sends: under a temporary name beside `out`, checked against the sizes
// and digests that the server gives, synced, and renamed at the end. What is there under the name
// `out` is complete, or not from here. Not thread-safe.
class ExportReceiver {
 public:
  enum class Kind { kDirectory, kSingleFile };

  // FAILED_PRECONDITION, naming it, when `out` is there already (an empty directory may be, for
  // kDirectory), NOT_FOUND when the folder to write to is not.
  static absl::StatusOr<std::unique_ptr<ExportReceiver>> Create(const std::string& out, Kind kind);
  // Removes what was not renamed.
  ~ExportReceiver();

  // Takes the next message. DATA_LOSS when it does not fit those before it or a digest is wrong;
  // UNAVAILABLE when it cannot be written.
  absl::Status Receive(const amend::v1::ExportRevisionResponse& message);
  // After the last message. DATA_LOSS when something is missing.
  absl::Status Finish();

  int64_t revision() const { return start_.revision(); }
  const amend::v1::ExportStart& start() const { return start_; }
  int64_t bytes() const { return bytes_; }
  // Those that are complete.
  const std::vector<ReceivedFile>& files() const { return files_; }

 private:
  ExportReceiver(std::string out, Kind kind, std::string temporary);
  absl::Status Begin(const amend::v1::ExportStart& start);
  absl::Status Write(const amend::v1::ExportChunk& chunk);
  absl::Status OpenFile();
  absl::Status CloseFile(const std::string& sha256);
  std::string PathOf(const std::string& name) const;

  const std::string out_;
  const Kind kind_;
  // A folder.
  const std::string temporary_;
  bool begun_ = false;
  amend::v1::ExportStart start_;
  std::vector<ReceivedFile> files_;
  int64_t bytes_ = 0;
  // Of the file that is being written; -1 between files.
  int fd_ = -1;
  int64_t file_bytes_ = 0;
  std::unique_ptr<Sha256> digest_;
};

}  // namespace amend::client

#endif  // AMEND_CLIENT_EXPORT_RECEIVER_H_
