#ifndef AMEND_CORE_TOKENIZER_BPE_TOKENIZER_H_
#define AMEND_CORE_TOKENIZER_BPE_TOKENIZER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/types.h"
#include "core/tokenizer/bpe_definition.h"
#include "core/tokenizer/pre_tokenizer.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

// BPE: words of the pre-tokenizer, as single bytes (byte-level) or characters (SentencePiece, where
// characters that have no token are their bytes), in which the adjacent pair of best priority
// (leftmost among equals) is merged until none is left. A word of n bytes takes O(n log n).
//
// Invariants, checked by Create():
// 1. Every byte has a token of its own, so that every text has a tokenization.
// 2. The bytes of a merged token are those of its parts, so that decoding gives back what was
//    encoded.
//
// Thread-safe (immutable).
class BpeTokenizer : public Tokenizer {
 public:
  // INVALID_ARGUMENT, naming file and entry, when the definition contradicts itself or breaks an
  // invariant.
  static absl::StatusOr<std::unique_ptr<BpeTokenizer>> Create(const BpeDefinition& definition);

  std::vector<TokenId> Encode(absl::string_view text) const override;
  std::vector<TokenId> EncodeContinuation(absl::string_view text) const override;
  absl::Span<const TokenId> beginning() const override { return beginning_; }
  absl::string_view TokenBytes(TokenId id) const override;
  int vocabulary_size() const override { return static_cast<int>(bytes_.size()); }

 private:
  struct Merge {
    int32_t rank;  // 0 is the best
    TokenId result;
  };
  class Word;

  BpeTokenizer() = default;
  absl::Status AddVocabulary(const BpeDefinition& definition);
  absl::Status AddBeginning(const BpeDefinition& definition);
  absl::Status AddMerges(const BpeDefinition& definition);
  // Null when the pair does not merge.
  const Merge* FindMerge(TokenId left, TokenId right) const;

  // Adds the tokens of a text.
  void AppendText(absl::string_view text, std::vector<TokenId>& out) const;
  // The same of a text that is normalized and has no added token in it.
  void AppendStretch(absl::string_view text, Word& word, std::vector<TokenId>& out) const;
  // The longest added token that stands for its content at the beginning of `text`; null when there
  // is none.
  const std::pair<std::string, TokenId>* MatchedAt(absl::string_view text) const;

  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  Spelling spelling_ = Spelling::kByteLevel;
  bool composes_ = false;
  bool whole_words_ = false;
  std::vector<TokenId> beginning_;
  bool begins_with_space_ = false;
  bool only_one_space_ = false;
  // Added tokens that stand for their content, longest first.
  std::vector<std::pair<std::string, TokenId>> matched_;
  // By their bytes, where needed: tokens that a word or a character may be as a whole.
  absl::flat_hash_map<std::string, TokenId> words_;
  std::vector<std::string> bytes_;  // by id; empty where the vocabulary has a gap
  std::array<TokenId, 256> byte_tokens_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by left << 32 | right
};

}  // namespace amend

#endif  // AMEND_CORE_TOKENIZER_BPE_TOKENIZER_H_
