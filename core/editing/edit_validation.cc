#include "core/editing/edit_validation.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/utf8.h"
#include "core/editing/edit_rows.h"

namespace amend {
namespace {

// Empty when `text` is well-formed UTF-8 without NUL.
std::string TextProblem(absl::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '\0') return absl::StrCat("holds a NUL at byte ", at);
    const Utf8Step step = FirstUtf8(text.substr(at));
    if (step.kind != Utf8Step::Kind::kValid) return absl::StrCat("is not valid UTF-8 at byte ", at);
    at += step.length;
  }
  return "";
}

// Of a text that a description quotes: descriptions go into trailers, which are short.
constexpr size_t kMaxQuoted = 80;

// The text in quotes, cut where a character ends. The text is valid UTF-8.
std::string Quoted(absl::string_view text) {
  if (text.size() <= kMaxQuoted) return absl::StrCat("\"", text, "\"");
  size_t end = 0;
  for (size_t next = 0; next <= kMaxQuoted;) {
    end = next;
    next += FirstUtf8(text.substr(next)).length;
  }
  return absl::StrCat("\"", text.substr(0, end), "...\"");
}

// Collects what is wrong with one edit.
class EditChecker {
 public:
  EditChecker(const Tokenizer& tokenizer, const EditSettings& settings, int context_length,
              int index, std::vector<EditViolation>* violations)
      : tokenizer_(tokenizer),
        settings_(settings),
        context_length_(context_length),
        index_(index),
        violations_(violations) {}

  void Check(const Edit& edit) {
    CheckCount("paraphrases", edit.paraphrases.size());
    CheckCount("locality_probes", edit.probes.size());
    if (edit.client_edit_id.size() > kMaxClientEditIdBytes) {
      Add("client_edit_id", absl::StrCat("has ", edit.client_edit_id.size(), " bytes, at most ",
                                         kMaxClientEditIdBytes));
    }
    bool readable = CheckText("prompt", edit.prompt);
    readable = CheckText("subject", edit.subject) && readable;
    readable = CheckText("target_new", edit.target_new) && readable;
    if (!readable) return;
    const size_t before = violations_->size();
    CheckSubject(edit);
    if (violations_->size() == before) CheckLengths(edit);
    for (size_t i = 0; i < edit.paraphrases.size(); ++i) {
      const std::string field = absl::StrCat("paraphrases[", i, "]");
      if (CheckText(field, edit.paraphrases[i]))
        CheckPair(field, edit.paraphrases[i], edit.target_new);
    }
    for (size_t i = 0; i < edit.probes.size(); ++i) {
      const std::string field = absl::StrCat("locality_probes[", i, "].");
      const bool prompt_is_text = CheckText(field + "prompt", edit.probes[i].prompt);
      if (CheckText(field + "answer", edit.probes[i].answer) && prompt_is_text) {
        CheckPair(field + "prompt", edit.probes[i].prompt, edit.probes[i].answer);
      }
    }
  }

 private:
  void Add(std::string field, std::string description) {
    violations_->push_back(EditViolation{index_, std::move(field), std::move(description)});
  }

  void CheckCount(const std::string& field, size_t count) {
    if (count <= kMaxGateTexts) return;
    Add(field, absl::StrCat("are ", count, ", at most ", kMaxGateTexts));
  }

  bool CheckText(const std::string& field, absl::string_view text) {
    if (text.empty()) {
      Add(field, "is empty");
      return false;
    }
    const std::string problem = TextProblem(text);
    if (!problem.empty()) Add(field, problem);
    return problem.empty();
  }

  void CheckSubject(const Edit& edit) {
    const int occurrences = CountOccurrences(edit.prompt, edit.subject);
    if (occurrences == 1) return;
    Add("subject",
        absl::StrCat(Quoted(edit.subject), " is ",
                     occurrences == 0 ? "not" : absl::StrCat(occurrences, " times"),
                     " in the prompt ", Quoted(edit.prompt), "; it must be there exactly once"));
  }

  void CheckLengths(const Edit& edit) {
    const absl::StatusOr<EditRows> rows = MakeEditRows(tokenizer_, settings_, edit);
    if (!rows.ok()) return Add("prompt", std::string(rows.status().message()));
    size_t longest = rows->essence.tokens.size();
    for (const PromptRow& row : rows->prompts)
      longest = std::max(longest, row.tokens.size() + rows->target.size());
    if (longest > static_cast<size_t>(context_length_)) {
      Add("prompt", absl::StrCat("with context template and target is ", longest,
                                 " tokens, the context is ", context_length_));
    }
  }

  void CheckPair(const std::string& field, absl::string_view prompt,
                 absl::string_view continuation) {
    const size_t length = tokenizer_.Encode(prompt).size() +
                          tokenizer_.EncodeContinuation(absl::StrCat(" ", continuation)).size();
    if (length > static_cast<size_t>(context_length_)) {
      Add(field, absl::StrCat("with its continuation is ", length, " tokens, the context is ",
                              context_length_));
    }
  }

  const Tokenizer& tokenizer_;
  const EditSettings& settings_;
  const int context_length_;
  const int index_;
  std::vector<EditViolation>* const violations_;
};

}  // namespace

std::vector<EditViolation> ValidateEdits(const Tokenizer& tokenizer, const EditSettings& settings,
                                         int context_length, absl::Span<const Edit> edits) {
  std::vector<EditViolation> violations;
  std::map<absl::string_view, int> first_of_subject;
  for (size_t i = 0; i < edits.size(); ++i) {
    const int index = static_cast<int>(i);
    EditChecker(tokenizer, settings, context_length, index, &violations).Check(edits[i]);
    // Edits of one subject have near-equal keys, and one batch cannot give them different values.
    const auto [first, fresh] = first_of_subject.emplace(edits[i].subject, index);
    if (!fresh && !edits[i].subject.empty()) {
      violations.push_back(EditViolation{
          index, "subject",
          absl::StrCat(Quoted(edits[i].subject), " is the subject of edit ", first->second,
                       " of this batch too; send it in another batch")});
    }
  }
  return violations;
}

}  // namespace amend
