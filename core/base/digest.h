#ifndef AMEND_CORE_BASE_DIGEST_H_
#define AMEND_CORE_BASE_DIGEST_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace amend {

// Incremental SHA-256 (FIPS 180-4). Not thread-safe.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(const Sha256Stream&) = delete;
  Sha256Stream& operator=(const Sha256Stream&) = delete;

  void Update(absl::string_view bytes);
  // Lower-case hex, 64 characters. Call once, last.
  std::string HexDigest();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// SHA-256 of `bytes`, lower-case hex.
std::string Sha256Hex(absl::string_view bytes);

// SHA-256 of a file's content, lower-case hex. NOT_FOUND or UNAVAILABLE, naming the path, when it
// cannot be read.
absl::StatusOr<std::string> Sha256HexOfFile(const std::string& path);

}  // namespace amend

#endif  // AMEND_CORE_BASE_DIGEST_H_
