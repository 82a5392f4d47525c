#include "core/tokenizer/bpe_definition.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"

namespace amend {
namespace {

using Json = nlohmann::json;

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const std::string text = absl::StrCat("cannot open ", path, ": ", std::strerror(errno));
    return errno == ENOENT ? absl::NotFoundError(text) : absl::UnavailableError(text);
  }
  std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return absl::UnavailableError(absl::StrCat("cannot read ", path));
  return content;
}

// At most 80 bytes of the value, for messages.
std::string Show(const Json& value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  if (text.size() > 80) text = absl::StrCat(text.substr(0, 77), "...");
  return text;
}

absl::Status Malformed(absl::string_view path, absl::string_view entry, const Json& value,
                       absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": ", entry, " is ", Show(value), ", not ", wanted));
}

// The member, or null where there is none.
const Json& Member(const Json& object, const char* key) {
  static const Json* const kNull = new Json();
  const auto it = object.find(key);
  return it == object.end() ? *kNull : *it;
}

absl::StatusOr<Json> ReadJsonObject(const std::string& path) {
  AMEND_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not valid JSON (", text.size(), " bytes)"));
  }
  if (!json.is_object()) return Malformed(path, "the top level", json, "an object");
  return json;
}

absl::Status ReadIds(const std::string& path, absl::string_view entry, const Json& object,
                     std::vector<std::pair<std::string, int64_t>>& out) {
  if (!object.is_object()) return Malformed(path, entry, object, "an object");
  out.reserve(object.size());
  for (const auto& [token, id] : object.items()) {
    if (!id.is_number_integer()) {
      return Malformed(path, absl::StrCat(entry, "[", Show(token), "]"), id, "an integer");
    }
    out.emplace_back(token, id.get<int64_t>());
  }
  return absl::OkStatus();
}

// The pre-tokenizers' expressions, as tokenizer.json has them.
constexpr char kLlama3Pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen2Pattern[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                                 R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr char kSpaceMark[] = "\u2581";

absl::Status Require(const std::string& path, const std::string& entry, const Json& object,
                     const char* key, const Json& wanted) {
  const Json& value = Member(object, key);
  if (value == wanted) return absl::OkStatus();
  return Malformed(path, absl::StrCat(entry, ".", key), value, Show(wanted));
}

// A "ByteLevel" that is the whole pre-tokenizer, or stands behind a "Split".
absl::Status ReadByteLevel(const std::string& path, const std::string& entry, const Json& json,
                           bool splits) {
  if (Member(json, "type") != "ByteLevel") {
    return Malformed(path, entry, json, "of type \"ByteLevel\"");
  }
  AMEND_RETURN_IF_ERROR(Require(path, entry, json, "add_prefix_space", false));
  const Json& use_regex = Member(json, "use_regex");
  if (use_regex == splits || (splits && use_regex.is_null())) return absl::OkStatus();
  return Malformed(path, absl::StrCat(entry, ".use_regex"), use_regex, splits ? "true" : "false");
}

absl::Status ReadSplit(const std::string& path, const std::string& entry, const Json& json,
                       BpeDefinition& out) {
  if (Member(json, "type") != "Split") return Malformed(path, entry, json, "of type \"Split\"");
  AMEND_RETURN_IF_ERROR(Require(path, entry, json, "behavior", "Isolated"));
  AMEND_RETURN_IF_ERROR(Require(path, entry, json, "invert", false));
  const Json& pattern = Member(json, "pattern");
  const Json& regex = pattern.is_object() ? Member(pattern, "Regex") : pattern;
  if (regex == kLlama3Pattern) {
    out.split = SplitExpression::kLlama3;
  } else if (regex == kQwen2Pattern) {
    out.split = SplitExpression::kQwen2;
  } else {
    return Malformed(path, absl::StrCat(entry, ".pattern"), pattern,
                     "the expression of Llama 3 or of Qwen2");
  }
  return absl::OkStatus();
}

absl::Status ReadPreTokenizer(const std::string& path, const Json& pre, BpeDefinition& out) {
  const std::string entry = "pre_tokenizer";
  if (out.spelling == Spelling::kSentencePiece) {
    out.split = SplitExpression::kNone;
    if (pre.is_null()) return absl::OkStatus();
    if (!pre.is_object() || Member(pre, "type") != "Metaspace") {
      return Malformed(path, entry, pre, "null or of type \"Metaspace\"");
    }
    AMEND_RETURN_IF_ERROR(Require(path, entry, pre, "replacement", kSpaceMark));
    AMEND_RETURN_IF_ERROR(Require(path, entry, pre, "split", false));
    const Json& scheme = Member(pre, "prepend_scheme");
    out.begins_with_space |= scheme == "first" || scheme == "always";
    out.only_one_space = true;
    if (scheme == "first" || scheme == "always" || scheme == "never") return absl::OkStatus();
    return Malformed(path, entry + ".prepend_scheme", scheme, "\"first\", \"always\" or \"never\"");
  }
  if (!pre.is_object()) return Malformed(path, entry, pre, "of type \"ByteLevel\"");
  if (Member(pre, "type") != "Sequence") return ReadByteLevel(path, entry, pre, /*splits=*/true);
  const Json& parts = Member(pre, "pretokenizers");
  if (!parts.is_array() || parts.size() != 2 || !parts[0].is_object() || !parts[1].is_object()) {
    return Malformed(path, entry, pre, "a \"Split\" and a \"ByteLevel\"");
  }
  AMEND_RETURN_IF_ERROR(ReadSplit(path, entry + ".pretokenizers[0]", parts[0], out));
  return ReadByteLevel(path, entry + ".pretokenizers[1]", parts[1], /*splits=*/false);
}

absl::Status ReadNormalizer(const std::string& path, const Json& json, BpeDefinition& out) {
  if (json.is_null()) return absl::OkStatus();
  const Json& type = json.is_object() ? Member(json, "type") : json;
  if (type == "Sequence" && Member(json, "normalizers").is_array()) {
    for (const Json& part : json["normalizers"]) {
      AMEND_RETURN_IF_ERROR(ReadNormalizer(path, part, out));
    }
    return absl::OkStatus();
  }
  if (out.spelling == Spelling::kByteLevel) {
    if (type != "NFC") return Malformed(path, "normalizer", json, "null or of type \"NFC\"");
    out.composes = true;
    return absl::OkStatus();
  }
  if (type == "Prepend" && Member(json, "prepend") == kSpaceMark) {
    out.begins_with_space = true;
    return absl::OkStatus();
  }
  const Json space = {{"String", " "}};
  if (type == "Replace" && Member(json, "pattern") == space &&
      Member(json, "content") == kSpaceMark) {
    return absl::OkStatus();
  }
  return Malformed(path, "normalizer", json, "one that marks spaces as U+2581");
}

// What is put before every text.
absl::Status ReadPostProcessor(const std::string& path, const Json& json, BpeDefinition& out) {
  if (json.is_null()) return absl::OkStatus();
  const std::string entry = "post_processor";
  const Json& type = json.is_object() ? Member(json, "type") : json;
  if (type == "ByteLevel") return absl::OkStatus();
  if (type == "Sequence" && Member(json, "processors").is_array()) {
    for (const Json& part : json["processors"]) {
      AMEND_RETURN_IF_ERROR(ReadPostProcessor(path, part, out));
    }
    return absl::OkStatus();
  }
  const Json& single = type == "TemplateProcessing" ? Member(json, "single") : Json();
  if (!single.is_array() || single.empty() || !single.back().contains("Sequence")) {
    return Malformed(path, entry, json, "a template of special tokens and then the text");
  }
  for (size_t i = 0; i + 1 < single.size(); ++i) {
    const Json& name = single[i].value("/SpecialToken/id"_json_pointer, Json());
    const Json& special = Member(json, "special_tokens");
    const Json ids = name.is_string() && special.is_object() && special.contains(name)
                         ? special[name.get<std::string>()].value("ids", Json())
                         : Json();
    if (!ids.is_array()) {
      return Malformed(path, absl::StrCat(entry, ".single[", i, "]"), single[i],
                       "a special token with its ids");
    }
    for (const Json& id : ids) {
      if (!id.is_number_integer()) return Malformed(path, entry, id, "an id");
      out.beginning.push_back(id.get<int64_t>());
    }
  }
  return absl::OkStatus();
}

// Refuses whatever would give other tokens than the kinds of BPE that are read.
absl::Status ReadKind(const std::string& path, const Json& json, BpeDefinition& out) {
  const Json& model = Member(json, "model");
  if (!model.is_object()) return Malformed(path, "model", model, "an object");
  // Files of 2019 have no type: BPE was the only one.
  const Json& type = Member(model, "type");
  if (!type.is_null() && type != "BPE") return Malformed(path, "model.type", type, "\"BPE\"");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json& affix = Member(model, key);
    if (!affix.is_null() && affix != "") {
      return Malformed(path, absl::StrCat("model.", key), affix, "empty");
    }
  }
  const Json& dropout = Member(model, "dropout");
  if (!dropout.is_null() && dropout != 0) return Malformed(path, "model.dropout", dropout, "0");
  out.whole_words = Member(model, "ignore_merges") == true;
  if (Member(model, "byte_fallback") == true) out.spelling = Spelling::kSentencePiece;
  AMEND_RETURN_IF_ERROR(ReadNormalizer(path, Member(json, "normalizer"), out));
  AMEND_RETURN_IF_ERROR(ReadPreTokenizer(path, Member(json, "pre_tokenizer"), out));
  return ReadPostProcessor(path, Member(json, "post_processor"), out);
}

// "a b" as its two parts, if it is that.
bool SplitMerge(absl::string_view text, std::pair<std::string, std::string>& out) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ' ');
  if (parts.size() != 2 || parts[0].empty() || parts[1].empty()) return false;
  out = {std::string(parts[0]), std::string(parts[1])};
  return true;
}

absl::Status ReadMerges(const std::string& path, const Json& merges, BpeDefinition& out) {
  if (!merges.is_array()) return Malformed(path, "model.merges", merges, "an array");
  out.merges.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const Json& merge = merges[i];
    std::pair<std::string, std::string> pair;
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      pair = {merge[0].get<std::string>(), merge[1].get<std::string>()};
    } else if (!merge.is_string() || !SplitMerge(merge.get_ref<const std::string&>(), pair)) {
      return Malformed(path, absl::StrCat("model.merges[", i, "]"), merge, "a pair of tokens");
    }
    out.merges.push_back(std::move(pair));
  }
  return absl::OkStatus();
}

absl::Status ReadAdded(const std::string& path, const Json& added, BpeDefinition& out) {
  if (added.is_null()) return absl::OkStatus();
  if (!added.is_array()) return Malformed(path, "added_tokens", added, "an array");
  for (size_t i = 0; i < added.size(); ++i) {
    const Json& token = added[i];
    const std::string entry = absl::StrCat("added_tokens[", i, "]");
    if (!token.is_object() || !Member(token, "content").is_string() ||
        !Member(token, "id").is_number_integer()) {
      return Malformed(path, entry, token, "an object with content and id");
    }
    out.added.emplace_back(token["content"].get<std::string>(), token["id"].get<int64_t>());
    if (Member(token, "special") != false) continue;
    for (const char* key : {"single_word", "lstrip", "rstrip"}) {
      if (Member(token, key) == true) {
        return Malformed(path, absl::StrCat(entry, ".", key), token[key], "false");
      }
    }
    if (!out.added.back().first.empty()) out.matched.push_back(out.added.back());
  }
  return absl::OkStatus();
}

absl::StatusOr<BpeDefinition> ReadTokenizerJson(const std::string& path) {
  AMEND_ASSIGN_OR_RETURN(const Json json, ReadJsonObject(path));
  BpeDefinition definition;
  AMEND_RETURN_IF_ERROR(ReadKind(path, json, definition));
  definition.vocabulary_source = path;
  definition.merges_source = path;
  const Json& model = Member(json, "model");
  AMEND_RETURN_IF_ERROR(
      ReadIds(path, "model.vocab", Member(model, "vocab"), definition.vocabulary));
  AMEND_RETURN_IF_ERROR(ReadMerges(path, Member(model, "merges"), definition));
  AMEND_RETURN_IF_ERROR(ReadAdded(path, Member(json, "added_tokens"), definition));
  return definition;
}

absl::Status ReadMergesText(const std::string& path, BpeDefinition& out) {
  AMEND_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  int line_number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    absl::ConsumeSuffix(&line, "\r");
    if (line.empty() || absl::StartsWith(line, "#version")) continue;
    std::pair<std::string, std::string> pair;
    if (!SplitMerge(line, pair)) {
      return Malformed(path, absl::StrCat("line ", line_number), Json(std::string(line)),
                       "a pair of tokens");
    }
    out.merges.push_back(std::move(pair));
  }
  return absl::OkStatus();
}

absl::StatusOr<BpeDefinition> ReadVocabAndMerges(const std::string& vocab,
                                                 const std::string& merges,
                                                 const std::string& added) {
  BpeDefinition definition;
  definition.vocabulary_source = vocab;
  definition.merges_source = merges;
  AMEND_ASSIGN_OR_RETURN(const Json ids, ReadJsonObject(vocab));
  AMEND_RETURN_IF_ERROR(ReadIds(vocab, "the vocabulary", ids, definition.vocabulary));
  AMEND_RETURN_IF_ERROR(ReadMergesText(merges, definition));
  if (Exists(added)) {
    AMEND_ASSIGN_OR_RETURN(const Json added_ids, ReadJsonObject(added));
    AMEND_RETURN_IF_ERROR(ReadIds(added, "the added tokens", added_ids, definition.added));
  }
  return definition;
}

}  // namespace

absl::StatusOr<BpeDefinition> ReadBpeDefinition(const std::string& directory) {
  const std::string tokenizer = absl::StrCat(directory, "/tokenizer.json");
  if (Exists(tokenizer)) return ReadTokenizerJson(tokenizer);
  const std::string vocab = absl::StrCat(directory, "/vocab.json");
  const std::string merges = absl::StrCat(directory, "/merges.txt");
  if (!Exists(vocab) && !Exists(merges)) {
    return absl::NotFoundError(
        absl::StrCat(directory, " has neither tokenizer.json nor vocab.json and merges.txt"));
  }
  return ReadVocabAndMerges(vocab, merges, absl::StrCat(directory, "/added_tokens.json"));
}

}  // namespace amend
