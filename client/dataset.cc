#include "client/dataset.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"

namespace amend::client {
namespace {

using Json = nlohmann::json;

// One JSON value of the file and the line it starts on.
struct Snippet {
  absl::string_view text;
  int line;
};

absl::Status LineError(absl::string_view name, int line, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(name, ":", line, ": ", what));
}

std::vector<Snippet> SplitLines(absl::string_view text) {
  std::vector<Snippet> snippets;
  int line = 0;
  while (!text.empty()) {
    ++line;
    const size_t end = std::min(text.find('\n'), text.size());
    const absl::string_view content = absl::StripAsciiWhitespace(text.substr(0, end));
    if (!content.empty()) snippets.push_back({content, line});
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return snippets;
}

// Walks over JSON text and knows the line and whether it is inside a string.
class Cursor {
 public:
  explicit Cursor(absl::string_view text) : text_(text) {}
  bool done() const { return at_ >= text_.size(); }
  char Peek() const { return text_[at_]; }
  size_t at() const { return at_; }
  int line() const { return line_; }
  bool in_string() const { return in_string_; }

  void Step() {
    const char c = text_[at_++];
    if (c == '\n') ++line_;
    if (escaped_) {
      escaped_ = false;
    } else if (in_string_ && c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = !in_string_;
    }
  }

  void SkipSpace() {
    while (!done() && absl::ascii_isspace(Peek())) Step();
  }

  // Moves behind the value that starts here: to the next comma or closing bracket at its level.
  void SkipValue() {
    int depth = 0;
    for (; !done(); Step()) {
      if (in_string_) continue;
      const char c = Peek();
      if (depth == 0 && (c == ',' || c == ']')) return;
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
    }
  }

 private:
  const absl::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  bool in_string_ = false;
  bool escaped_ = false;
};

// Cuts "[a, b, ...]" into its elements without parsing them, so that each keeps its line.
absl::StatusOr<std::vector<Snippet>> SplitArray(absl::string_view text, absl::string_view name) {
  std::vector<Snippet> snippets;
  Cursor cursor(text);
  cursor.SkipSpace();
  cursor.Step();  // The bracket.
  cursor.SkipSpace();
  const bool empty = !cursor.done() && cursor.Peek() == ']';
  if (empty) cursor.Step();
  for (bool more = !empty; more;) {
    cursor.SkipSpace();
    const size_t start = cursor.at();
    const int line = cursor.line();
    cursor.SkipValue();
    snippets.push_back({text.substr(start, cursor.at() - start), line});
    if (cursor.done()) return LineError(name, line, "the array is not closed by ]");
    more = cursor.Peek() == ',';
    cursor.Step();
  }
  cursor.SkipSpace();
  if (!cursor.done()) return LineError(name, cursor.line(), "text after the closing ]");
  return snippets;
}

// Fields of one record. The first error wins; readers after it return empty values.
class RecordReader {
 public:
  RecordReader(const Json& object, absl::string_view name, int line)
      : object_(object), name_(name), line_(line) {}

  const absl::Status& status() const { return status_; }

  bool Has(const char* field) const {
    const auto it = object_.find(field);
    return it != object_.end() && !it->is_null();
  }

  // The first of the fields that exists, or the first one.
  const char* OneOf(const char* field, const char* other) const {
    return !Has(field) && Has(other) ? other : field;
  }

  std::string Text(const Json& value, const std::string& field) {
    if (!value.is_string()) {
      Fail(field, absl::StrCat("a string is wanted, this is ", value.type_name()));
      return "";
    }
    std::string text = value.get<std::string>();
    if (absl::StripAsciiWhitespace(text).empty()) Fail(field, "is empty");
    return text;
  }

  std::string Required(const char* field) {
    if (Has(field)) return Text(object_[field], field);
    Fail(field, "missing");
    return "";
  }

  // A target may be written {"str": "..."}.
  std::string Target(const char* field) {
    if (Has(field) && object_[field].is_object()) {
      const Json& value = object_[field];
      if (value.contains("str")) return Text(value["str"], absl::StrCat(field, ".str"));
      Fail(absl::StrCat(field, ".str"), "missing");
      return "";
    }
    return Required(field);
  }

  // A string, or a list of strings; none when the field is missing.
  std::vector<std::string> Texts(const char* field) {
    if (!Has(field)) return {};
    const Json& value = object_[field];
    if (!value.is_array()) return {Text(value, field)};
    std::vector<std::string> texts;
    for (size_t i = 0; i < value.size(); ++i) {
      texts.push_back(Text(value[i], absl::StrCat(field, "[", i, "]")));
    }
    return texts;
  }

  void AddProbes(const char* prompts, const char* answers, amend::v1::Edit* edit) {
    const std::vector<std::string> asked = Texts(prompts);
    const std::vector<std::string> answered = Texts(answers);
    if (asked.size() != answered.size()) {
      Fail(answers, absl::StrCat(answered.size(), " answers for ", asked.size(), " of ", prompts));
      return;
    }
    for (size_t i = 0; i < asked.size(); ++i) {
      auto* probe = edit->add_locality_probes();
      probe->set_prompt(std::string(absl::StripPrefix(asked[i], "nq question: ")));
      probe->set_answer(std::string(absl::StripAsciiWhitespace(answered[i])));
    }
  }

  void AddOwnProbes(const char* field, amend::v1::Edit* edit) {
    if (!Has(field)) return;
    const Json& probes = object_[field];
    if (!probes.is_array()) {
      Fail(field, absl::StrCat("a list is wanted, this is ", probes.type_name()));
      return;
    }
    for (size_t i = 0; i < probes.size(); ++i) {
      auto* probe = edit->add_locality_probes();
      probe->set_prompt(Member(probes[i], "prompt", absl::StrCat(field, "[", i, "]")));
      probe->set_answer(std::string(absl::StripAsciiWhitespace(
          Member(probes[i], "answer", absl::StrCat(field, "[", i, "]")))));
    }
  }

  // client_edit_id, or CounterFact's number.
  std::string Id() {
    const char* field = OneOf("client_edit_id", "case_id");
    if (!Has(field)) return "";
    const Json& value = object_[field];
    return value.is_number_integer() ? value.dump() : Text(value, field);
  }

 private:
  std::string Member(const Json& object, const char* key, const std::string& where) {
    const std::string field = absl::StrCat(where, ".", key);
    if (object.is_object() && object.contains(key)) return Text(object[key], field);
    Fail(field, "missing");
    return "";
  }

  void Fail(absl::string_view field, absl::string_view what) {
    if (!status_.ok()) return;
    status_ = LineError(name_, line_, absl::StrCat("field \"", field, "\": ", what));
  }

  const Json& object_;
  const absl::string_view name_;
  const int line_;
  absl::Status status_;
};

absl::StatusOr<EditRecord> ParseRecord(const Snippet& snippet, absl::string_view name) {
  const Json object =
      Json::parse(snippet.text.begin(), snippet.text.end(), nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) return LineError(name, snippet.line, "not valid JSON");
  if (!object.is_object()) {
    return LineError(name, snippet.line,
                     absl::StrCat("an object is wanted, this is ", object.type_name()));
  }
  RecordReader reader(object, name, snippet.line);
  EditRecord record;
  record.line = snippet.line;
  amend::v1::Edit& edit = record.edit;
  edit.set_prompt(reader.Required(reader.OneOf("prompt", "src")));
  edit.set_subject(reader.Required("subject"));
  edit.set_target_new(
      std::string(absl::StripAsciiWhitespace(reader.Target(reader.OneOf("target_new", "alt")))));
  edit.set_client_edit_id(reader.Id());

  std::vector<std::string> paraphrases = reader.Texts("paraphrases");
  record.evaluation_paraphrases = reader.Texts(reader.OneOf("rephrase_prompt", "rephrase"));
  for (const std::string& rephrase : record.evaluation_paraphrases) {
    if (std::find(paraphrases.begin(), paraphrases.end(), rephrase) == paraphrases.end()) {
      paraphrases.push_back(rephrase);
    }
  }
  if (record.evaluation_paraphrases.empty()) record.evaluation_paraphrases = paraphrases;
  for (std::string& text : paraphrases) edit.add_paraphrases(std::move(text));

  reader.AddOwnProbes("locality_probes", &edit);
  reader.AddProbes("locality_prompt", "locality_ground_truth", &edit);
  reader.AddProbes("loc", "loc_ans", &edit);
  if (!reader.status().ok()) return reader.status();
  return record;
}

}  // namespace

absl::StatusOr<std::vector<EditRecord>> ParseEdits(absl::string_view text, absl::string_view name,
                                                   std::vector<absl::Status>* bad) {
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");  // A byte order mark.
  std::vector<Snippet> snippets;
  if (absl::StartsWith(absl::StripLeadingAsciiWhitespace(text), "[")) {
    absl::StatusOr<std::vector<Snippet>> split = SplitArray(text, name);
    if (!split.ok()) return split.status();
    snippets = *std::move(split);
  } else {
    snippets = SplitLines(text);
  }
  std::vector<EditRecord> records;
  records.reserve(snippets.size());
  for (const Snippet& snippet : snippets) {
    absl::StatusOr<EditRecord> record = ParseRecord(snippet, name);
    if (record.ok()) {
      records.push_back(*std::move(record));
    } else if (bad != nullptr) {
      bad->push_back(record.status());
    } else {
      return record.status();
    }
  }
  return records;
}

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return absl::NotFoundError(absl::StrCat("cannot read ", path, ": it is a directory"));
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  // An empty file sets text's failbit, a failed read its badbit.
  if (file) text << file.rdbuf();
  if (!file.is_open() || file.bad() || text.bad()) {
    return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", std::strerror(errno)));
  }
  return text.str();
}

absl::StatusOr<std::vector<EditRecord>> ReadEdits(const std::string& path,
                                                  std::vector<absl::Status>* bad) {
  const absl::StatusOr<std::string> text = ReadTextFile(path);
  if (!text.ok()) return text.status();
  return ParseEdits(*text, path, bad);
}

}  // namespace amend::client
