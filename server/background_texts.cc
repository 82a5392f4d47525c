#include "server/background_texts.h"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/editing/text_lines.h"

namespace amend {

absl::StatusOr<std::vector<std::string>> ReadBackgroundTexts(const EditProfile& profile,
                                                             const std::string& model_directory) {
  const auto wanted = static_cast<size_t>(profile.max_background_texts);
  std::vector<std::string> texts = profile.background_texts;
  if (texts.size() > wanted) texts.resize(wanted);
  if (profile.background_text_file.empty()) return texts;
  const std::string path =
      (std::filesystem::path(model_directory) / profile.background_text_file).string();
  auto lines = TextLines::Open(path);
  if (!lines.ok()) {
    return absl::Status(lines.status().code(),
                        absl::StrCat("the gate's background texts: ", lines.status().message()));
  }
  std::string line;
  while (texts.size() < wanted) {
    AMEND_ASSIGN_OR_RETURN(const bool more, (*lines)->Next(&line));
    if (!more) break;
    if (!line.empty()) texts.push_back(std::move(line));
  }
  if (texts.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the gate's background texts: ", path, " holds no text"));
  }
  return texts;
}

}  // namespace amend
