#ifndef AMEND_CORE_TOKENIZER_BPE_DEFINITION_H_
#define AMEND_CORE_TOKENIZER_BPE_DEFINITION_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace amend {

// What a tokenizer's files say, checked for form alone.
struct BpeDefinition {
  // Path that messages name for the vocabulary, and for the merges.
  std::string vocabulary_source;
  std::string merges_source;
  // Token, spelt in the byte-level alphabet, and its id.
  std::vector<std::pair<std::string, int64_t>> vocabulary;
  // Pairs of tokens in the order of their priority.
  std::vector<std::pair<std::string, std::string>> merges;
  // Content of added tokens, spelt plainly, and their ids. May repeat entries of the vocabulary.
  std::vector<std::pair<std::string, int64_t>> added;
};

// Reads tokenizer.json, or where there is none vocab.json and merges.txt (and added_tokens.json if
// it exists). NOT_FOUND naming the file that is missing; INVALID_ARGUMENT naming file, entry and
// value when one is malformed or describes something other than byte-level BPE without a prefix
// space.
absl::StatusOr<BpeDefinition> ReadBpeDefinition(const std::string& directory);

}  // namespace amend

#endif  // AMEND_CORE_TOKENIZER_BPE_DEFINITION_H_
