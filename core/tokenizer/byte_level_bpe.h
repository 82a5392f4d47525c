#ifndef AMEND_CORE_TOKENIZER_BYTE_LEVEL_BPE_H_
#define AMEND_CORE_TOKENIZER_BYTE_LEVEL_BPE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/types.h"
#include "core/tokenizer/bpe_definition.h"
#include "core/tokenizer/pre_tokenizer.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

// Byte-level BPE: words of the pre-tokenizer, in which the adjacent pair of best priority (leftmost
// among equals) is merged until none is left. A word of n bytes takes O(n log n).
//
// Invariants, checked by Create():
// 1. Every byte has a token of its own, so that every text has a tokenization.
// 2. The bytes of a merged token are those of its parts, so that Decode(Encode(x)) == x.
//
// Thread-safe (immutable).
class ByteLevelBpe : public Tokenizer {
 public:
  // INVALID_ARGUMENT, naming file and entry, when the definition contradicts itself or breaks an
  // invariant.
  static absl::StatusOr<std::unique_ptr<ByteLevelBpe>> Create(const BpeDefinition& definition);

  std::vector<TokenId> Encode(absl::string_view text) const override;
  absl::string_view TokenBytes(TokenId id) const override;
  int vocabulary_size() const override { return static_cast<int>(bytes_.size()); }

 private:
  struct Merge {
    int32_t rank;  // 0 is the best
    TokenId result;
  };
  class Word;

  ByteLevelBpe() = default;
  absl::Status AddVocabulary(const BpeDefinition& definition);
  absl::Status AddMerges(const BpeDefinition& definition);
  // Null when the pair does not merge.
  const Merge* FindMerge(TokenId left, TokenId right) const;

  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::vector<std::string> bytes_;  // by id; empty where the vocabulary has a gap
  std::array<TokenId, 256> byte_tokens_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by left << 32 | right
};

}  // namespace amend

#endif  // AMEND_CORE_TOKENIZER_BYTE_LEVEL_BPE_H_
