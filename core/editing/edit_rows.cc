#include "core/editing/edit_rows.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace amend {
namespace {

// The text before and after "{}".
std::pair<absl::string_view, absl::string_view> SplitTemplate(absl::string_view text) {
  const size_t at = text.find("{}");
  if (at == absl::string_view::npos) return {text, ""};
  return {text.substr(0, at), text.substr(at + 2)};
}

PromptRow MakeRow(const Tokenizer& tokenizer, absl::string_view before, absl::string_view after,
                  absl::string_view prompt, size_t subject_end) {
  PromptRow row;
  row.tokens = tokenizer.Encode(absl::StrCat(before, prompt, after));
  const std::string head = absl::StrCat(before, prompt.substr(0, subject_end));
  // The head alone may split into more tokens than it has inside the whole text, so stay within the
  // row.
  row.lookup = static_cast<int64_t>(std::min(tokenizer.Encode(head).size(), row.tokens.size())) - 1;
  return row;
}

}  // namespace

int CountOccurrences(absl::string_view text, absl::string_view needle) {
  int count = 0;
  for (size_t at = text.find(needle); at != absl::string_view::npos; at = text.find(needle, at + 1))
    ++count;
  return count;
}

absl::StatusOr<EditRows> MakeEditRows(const Tokenizer& tokenizer, const EditSettings& settings,
                                      const Edit& edit) {
  if (edit.subject.empty() || edit.target_new.empty()) {
    return absl::InvalidArgumentError("subject and target_new must not be empty");
  }
  const int occurrences = CountOccurrences(edit.prompt, edit.subject);
  if (occurrences != 1) {
    return absl::InvalidArgumentError(absl::StrCat("subject \"", edit.subject, "\" is ",
                                                   occurrences, " times in the prompt \"",
                                                   edit.prompt, "\"; it must be there once"));
  }
  const size_t subject_end = edit.prompt.find(edit.subject) + edit.subject.size();
  EditRows rows;
  rows.prompts.push_back(MakeRow(tokenizer, "", "", edit.prompt, subject_end));
  for (const std::string& text : settings.context_templates) {
    const auto [before, after] = SplitTemplate(text);
    rows.prompts.push_back(MakeRow(tokenizer, before, after, edit.prompt, subject_end));
  }
  rows.essence = MakeRow(tokenizer, "", " is a", edit.subject, edit.subject.size());
  rows.target = tokenizer.EncodeContinuation(absl::StrCat(" ", edit.target_new));
  return rows;
}

}  // namespace amend
