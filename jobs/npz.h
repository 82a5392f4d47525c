#ifndef AMEND_JOBS_NPZ_H_
#define AMEND_JOBS_NPZ_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

struct zip;

namespace amend::jobs {

// The arrays in a file of numpy.savez or savez_compressed: a zip archive of "KEY.npy". Not
// thread-safe.
class NpzFile {
 public:
  // NOT_FOUND for a missing file, INVALID_ARGUMENT for what is no zip archive; both name the path.
  static absl::StatusOr<std::unique_ptr<NpzFile>> Open(const std::string& path);
  ~NpzFile();
  NpzFile(const NpzFile&) = delete;
  NpzFile& operator=(const NpzFile&) = delete;

  const std::string& path() const { return path_; }
  // The bytes of "KEY.npy", their checksum compared. NOT_FOUND naming the keys there are;
  // INVALID_ARGUMENT naming both sizes for more than `max_bytes`, or saying what is broken.
  absl::StatusOr<std::string> Read(const std::string& key, int64_t max_bytes) const;

 private:
  NpzFile(std::string path, zip* archive) : path_(std::move(path)), archive_(archive) {}
  std::string Keys() const;

  const std::string path_;
  zip* const archive_;
};

}  // namespace amend::jobs

#endif  // AMEND_JOBS_NPZ_H_
