#include "core/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"
#include "core/base/utf8.h"
#include "core/tokenizer/composed_text.h"

namespace amend {
namespace {

// Larger ids are taken for a damaged file rather than allocated.
constexpr int64_t kMaxVocabulary = int64_t{1} << 24;

// The byte-level alphabet writes every byte as one printable character: printable Latin-1 as
// itself, the other 68 bytes, in their order, as U+0100 and up.
class ByteAlphabet {
 public:
  ByteAlphabet() {
    code_to_byte_.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      code_to_byte_[printable ? byte : next++] = byte;
    }
  }

  // The bytes that `token` (UTF-8) spells; false when a character is not of the alphabet.
  bool ToBytes(absl::string_view token, std::string& out) const {
    out.clear();
    for (size_t i = 0; i < token.size();) {
      const unsigned char lead = static_cast<unsigned char>(token[i++]);
      int code = lead;
      if (lead >= 0x80) {
        // All characters of the alphabet have at most two bytes.
        if ((lead & 0xE0) != 0xC0 || i == token.size()) return false;
        const unsigned char second = static_cast<unsigned char>(token[i++]);
        if ((second & 0xC0) != 0x80) return false;
        code = (lead & 0x1F) << 6 | (second & 0x3F);
      }
      if (code >= static_cast<int>(code_to_byte_.size()) || code_to_byte_[code] < 0) return false;
      out.push_back(static_cast<char>(code_to_byte_[code]));
    }
    return true;
  }

 private:
  std::array<int, 0x100 + 68> code_to_byte_;
};

// How SentencePiece writes a space.
constexpr absl::string_view kSpaceMark = "\u2581";

// Whether `token` is SentencePiece's "<0x41>", and that byte.
bool IsByteToken(absl::string_view token, std::string& byte) {
  if (token.size() != 6 || !absl::ConsumePrefix(&token, "<0x") ||
      !absl::ConsumeSuffix(&token, ">") || !absl::ascii_isxdigit(token[0]) ||
      !absl::ascii_isxdigit(token[1])) {
    return false;
  }
  byte = absl::HexStringToBytes(token);
  return true;
}

std::string Quote(absl::string_view text) {
  return absl::StrCat("\"", absl::Utf8SafeCEscape(text.substr(0, 80)), "\"");
}

absl::Status CheckId(const std::string& source, absl::string_view token, int64_t id) {
  if (id >= 0 && id < kMaxVocabulary) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(source, ": token ", Quote(token), " has id ", id,
                                                 ", outside 0 to ", kMaxVocabulary - 1));
}

uint64_t PairKey(TokenId left, TokenId right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

// One word while its pairs are merged: a linked list of tokens and a heap of the merges that were
// possible when they were pushed. Reused from word to word.
class BpeTokenizer::Word {
 public:
  explicit Word(const BpeTokenizer& bpe) : bpe_(bpe) {}

  void AppendTokens(absl::string_view word, std::vector<TokenId>& out) {
    Load(word);
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      const Candidate candidate = heap_.back();
      heap_.pop_back();
      Apply(candidate);
    }
    for (int32_t i = 0; i >= 0; i = nodes_[i].next) out.push_back(nodes_[i].token);
  }

 private:
  static constexpr TokenId kGone = -1;
  struct Node {
    TokenId token;  // kGone once merged into the node before
    int32_t previous;
    int32_t next;  // -1 at the end
  };
  struct Candidate {
    int32_t rank;
    int32_t position;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };

  void Load(absl::string_view word) {
    nodes_.clear();
    while (!word.empty()) {
      size_t length = 1;
      if (bpe_.spelling_ == Spelling::kSentencePiece) {
        const Utf8Step step = FirstUtf8(word);
        const auto character = bpe_.words_.find(word.substr(0, step.length));
        if (step.kind == Utf8Step::Kind::kValid && character != bpe_.words_.end()) {
          Append(character->second);
          word.remove_prefix(step.length);
          continue;
        }
        length = step.length;
      }
      for (const char byte : word.substr(0, length)) {
        Append(bpe_.byte_tokens_[static_cast<unsigned char>(byte)]);
      }
      word.remove_prefix(length);
    }
    nodes_.back().next = -1;
    heap_.clear();
    for (int32_t i = 0; nodes_[i].next >= 0; ++i) Push(i);
  }

  void Append(TokenId token) {
    const int32_t place = static_cast<int32_t>(nodes_.size());
    nodes_.push_back({token, place - 1, place + 1});
  }

  const Merge* MergeAt(int32_t position) const {
    const Node& node = nodes_[position];
    if (node.token == kGone || node.next < 0) return nullptr;
    return bpe_.FindMerge(node.token, nodes_[node.next].token);
  }

  void Push(int32_t position) {
    const Merge* merge = MergeAt(position);
    if (merge == nullptr) return;
    heap_.push_back({merge->rank, position});
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  void Apply(const Candidate& candidate) {
    const Merge* merge = MergeAt(candidate.position);
    // The pair has changed since it was pushed: what it is now was pushed then.
    if (merge == nullptr || merge->rank != candidate.rank) return;
    Node& node = nodes_[candidate.position];
    Node& absorbed = nodes_[node.next];
    node.token = merge->result;
    node.next = absorbed.next;
    absorbed.token = kGone;
    if (node.next >= 0) nodes_[node.next].previous = candidate.position;
    if (node.previous >= 0) Push(node.previous);
    Push(candidate.position);
  }

  const BpeTokenizer& bpe_;
  std::vector<Node> nodes_;
  std::vector<Candidate> heap_;
};

absl::StatusOr<std::unique_ptr<BpeTokenizer>> BpeTokenizer::Create(
    const BpeDefinition& definition) {
  auto bpe = std::unique_ptr<BpeTokenizer>(new BpeTokenizer());
  bpe->spelling_ = definition.spelling;
  bpe->composes_ = definition.composes;
  bpe->whole_words_ = definition.whole_words;
  bpe->begins_with_space_ = definition.begins_with_space;
  bpe->only_one_space_ = definition.only_one_space;
  AMEND_ASSIGN_OR_RETURN(bpe->pre_tokenizer_, PreTokenizer::Create(definition.split));
  AMEND_RETURN_IF_ERROR(bpe->AddVocabulary(definition));
  AMEND_RETURN_IF_ERROR(bpe->AddMerges(definition));
  AMEND_RETURN_IF_ERROR(bpe->AddBeginning(definition));
  for (const auto& [content, id] : definition.matched) {
    bpe->matched_.emplace_back(content, static_cast<TokenId>(id));
  }
  std::sort(bpe->matched_.begin(), bpe->matched_.end(),
            [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  return bpe;
}

absl::Status BpeTokenizer::AddVocabulary(const BpeDefinition& definition) {
  const std::string& source = definition.vocabulary_source;
  // Added tokens go first: they are spelt plainly, also where the vocabulary repeats them.
  absl::flat_hash_map<TokenId, absl::string_view> names;
  absl::flat_hash_map<absl::string_view, TokenId> added;
  const auto claim = [&](absl::string_view token, int64_t id) -> absl::Status {
    AMEND_RETURN_IF_ERROR(CheckId(source, token, id));
    const auto [it, inserted] = names.emplace(static_cast<TokenId>(id), token);
    if (!inserted && it->second != token) {
      return absl::InvalidArgumentError(absl::StrCat(source, ": tokens ", Quote(it->second),
                                                     " and ", Quote(token), " both have id ", id));
    }
    if (id >= static_cast<int64_t>(bytes_.size())) bytes_.resize(id + 1);
    return absl::OkStatus();
  };
  for (const auto& [content, id] : definition.added) {
    AMEND_RETURN_IF_ERROR(claim(content, id));
    bytes_[id] = content;
    added.emplace(content, static_cast<TokenId>(id));
  }
  const ByteAlphabet alphabet;
  byte_tokens_.fill(-1);
  std::string bytes;
  for (const auto& [token, id] : definition.vocabulary) {
    AMEND_RETURN_IF_ERROR(claim(token, id));
    const auto it = added.find(token);
    if (it != added.end() && it->second == id) continue;
    bool is_byte = false;
    if (spelling_ == Spelling::kSentencePiece) {
      is_byte = IsByteToken(token, bytes);
      if (!is_byte) bytes = absl::StrReplaceAll(token, {{kSpaceMark, " "}});
    } else {
      if (token.empty() || !alphabet.ToBytes(token, bytes)) {
        return absl::InvalidArgumentError(
            absl::StrCat(source, ": token ", Quote(token), " (id ", id,
                         ") is not spelt in the byte-level alphabet"));
      }
      is_byte = bytes.size() == 1;
    }
    if (is_byte) byte_tokens_[static_cast<unsigned char>(bytes[0])] = id;
    bytes_[id] = bytes;
    if (whole_words_ || (spelling_ == Spelling::kSentencePiece && !is_byte)) words_[bytes] = id;
  }
  for (int byte = 0; byte < 256; ++byte) {
    if (byte_tokens_[byte] >= 0) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: no token for byte 0x%02X among %d tokens", source, byte,
                        definition.vocabulary.size()));
  }
  return absl::OkStatus();
}

absl::Status BpeTokenizer::AddMerges(const BpeDefinition& definition) {
  absl::flat_hash_map<absl::string_view, TokenId> ids;
  ids.reserve(definition.vocabulary.size());
  for (const auto& [token, id] : definition.vocabulary) {
    ids.emplace(token, static_cast<TokenId>(id));
  }
  merges_.reserve(definition.merges.size());
  for (size_t rank = 0; rank < definition.merges.size(); ++rank) {
    const auto& [left, right] = definition.merges[rank];
    const std::string result = absl::StrCat(left, right);
    TokenId found[3] = {};
    int count = 0;
    for (absl::string_view token :
         {absl::string_view(left), absl::string_view(right), absl::string_view(result)}) {
      const auto it = ids.find(token);
      if (it == ids.end()) {
        return absl::InvalidArgumentError(absl::StrCat(
            definition.merges_source, ": merge ", rank, " of ", Quote(left), " and ", Quote(right),
            " needs token ", Quote(token), ", which is not in the vocabulary"));
      }
      found[count++] = it->second;
    }
    if (bytes_[found[2]] != absl::StrCat(bytes_[found[0]], bytes_[found[1]])) {
      return absl::InvalidArgumentError(absl::StrCat(
          definition.merges_source, ": merge ", rank, " of ", Quote(left), " and ", Quote(right),
          " gives an added token, ", Quote(bytes_[found[2]]), ", of other bytes"));
    }
    merges_[PairKey(found[0], found[1])] = {static_cast<int32_t>(rank), found[2]};
  }
  return absl::OkStatus();
}

const BpeTokenizer::Merge* BpeTokenizer::FindMerge(TokenId left, TokenId right) const {
  const auto it = merges_.find(PairKey(left, right));
  return it == merges_.end() ? nullptr : &it->second;
}

absl::Status BpeTokenizer::AddBeginning(const BpeDefinition& definition) {
  for (const int64_t id : definition.beginning) {
    if (id < 0 || id >= vocabulary_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(definition.vocabulary_source, ": a text begins with token ", id,
                       ", outside the vocabulary of ", vocabulary_size()));
    }
    beginning_.push_back(static_cast<TokenId>(id));
  }
  return absl::OkStatus();
}

std::vector<TokenId> BpeTokenizer::Encode(absl::string_view text) const {
  std::vector<TokenId> ids = beginning_;
  const bool has_space = absl::StartsWith(text, " ") || absl::StartsWith(text, kSpaceMark);
  if (begins_with_space_ && !text.empty() && !(only_one_space_ && has_space)) {
    AppendText(absl::StrCat(" ", text), ids);
  } else {
    AppendText(text, ids);
  }
  return ids;
}

std::vector<TokenId> BpeTokenizer::EncodeContinuation(absl::string_view text) const {
  std::vector<TokenId> ids;
  AppendText(text, ids);
  return ids;
}

void BpeTokenizer::AppendText(absl::string_view text, std::vector<TokenId>& out) const {
  std::string changed;
  if (composes_) {
    changed = ComposeCharacters(text);
    text = changed;
  } else if (spelling_ == Spelling::kSentencePiece) {
    changed = absl::StrReplaceAll(text, {{kSpaceMark, " "}});
    text = changed;
  }
  out.reserve(out.size() + text.size() / 3 + 1);
  Word word(*this);
  size_t begin = 0;
  for (size_t i = 0; i < text.size() && !matched_.empty();) {
    const std::pair<std::string, TokenId>* match = MatchedAt(text.substr(i));
    if (match == nullptr) {
      ++i;
      continue;
    }
    AppendStretch(text.substr(begin, i - begin), word, out);
    out.push_back(match->second);
    begin = i += match->first.size();
  }
  AppendStretch(text.substr(begin), word, out);
}

void BpeTokenizer::AppendStretch(absl::string_view text, Word& word,
                                 std::vector<TokenId>& out) const {
  pre_tokenizer_->ForEachWord(text, [&](absl::string_view bytes) {
    if (whole_words_) {
      const auto whole = words_.find(bytes);
      if (whole != words_.end()) return out.push_back(whole->second);
    }
    word.AppendTokens(bytes, out);
  });
}

const std::pair<std::string, TokenId>* BpeTokenizer::MatchedAt(absl::string_view text) const {
  for (const auto& token : matched_) {
    if (absl::StartsWith(text, token.first)) return &token;
  }
  return nullptr;
}

absl::string_view BpeTokenizer::TokenBytes(TokenId id) const {
  if (id < 0 || id >= vocabulary_size()) return {};
  return bytes_[id];
}

}  // namespace amend
