#ifndef AMEND_CORE_EDITING_TEXT_LINES_H_
#define AMEND_CORE_EDITING_TEXT_LINES_H_

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace amend {

// Reads a file of UTF-8 texts, one per line, holding one line at a time however large the file is.
// Not thread-safe.
class TextLines {
 public:
  // Longer lines are refused.
  static constexpr int64_t kMaxLineBytes = int64_t{16} << 20;

  // NOT_FOUND, naming the path.
  static absl::StatusOr<std::unique_ptr<TextLines>> Open(const std::string& path);

  // The next line without its "\n"; false at the end. INVALID_ARGUMENT, naming path and line, for
  // one that is not UTF-8 or too long; UNAVAILABLE when the file cannot be read.
  absl::StatusOr<bool> Next(std::string* line);

  // Lines that Next gave, and the bytes of the file that they took.
  int64_t lines() const { return lines_; }
  int64_t bytes() const { return bytes_; }
  int64_t total_bytes() const { return total_bytes_; }

 private:
  TextLines(std::string path, std::ifstream file, int64_t total_bytes);

  const std::string path_;
  std::ifstream file_;
  const int64_t total_bytes_;
  int64_t lines_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_TEXT_LINES_H_
