#include "core/editing/text_lines.h"

#include <sys/stat.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/utf8.h"

namespace amend {
namespace {

// Offset of the first byte that is not UTF-8; npos when all is.
size_t FirstBadByte(absl::string_view text) {
  for (size_t at = 0; at < text.size();) {
    // ASCII is most of most texts.
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Utf8Step step = FirstUtf8(text.substr(at));
    if (step.kind != Utf8Step::Kind::kValid) return at;
    at += step.length;
  }
  return absl::string_view::npos;
}

}  // namespace

TextLines::TextLines(std::string path, std::ifstream file, int64_t total_bytes)
    : path_(std::move(path)), file_(std::move(file)), total_bytes_(total_bytes) {}

absl::StatusOr<std::unique_ptr<TextLines>> TextLines::Open(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0 || S_ISDIR(status.st_mode)) {
    return absl::NotFoundError(absl::StrCat("cannot read the text file ", path));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) {
    return absl::NotFoundError(absl::StrCat("cannot read the text file ", path));
  }
  return std::unique_ptr<TextLines>(new TextLines(path, std::move(file), status.st_size));
}

absl::StatusOr<bool> TextLines::Next(std::string* line) {
  line->clear();
  std::streambuf& buffer = *file_.rdbuf();
  constexpr int kEnd = std::char_traits<char>::eof();
  int c = buffer.sbumpc();
  if (c == kEnd) return false;
  ++lines_;
  for (; c != kEnd && c != '\n'; c = buffer.sbumpc()) {
    line->push_back(static_cast<char>(c));
    if (static_cast<int64_t>(line->size()) > kMaxLineBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(path_, ":", lines_, ": the line has more than ", kMaxLineBytes, " bytes"));
    }
  }
  bytes_ += static_cast<int64_t>(line->size()) + (c == '\n' ? 1 : 0);
  const size_t bad = FirstBadByte(*line);
  if (bad != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ":", lines_, ": byte ", bad + 1, " of the line is not UTF-8"));
  }
  return true;
}

}  // namespace amend
