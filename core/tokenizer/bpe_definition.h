#ifndef AMEND_CORE_TOKENIZER_BPE_DEFINITION_H_
#define AMEND_CORE_TOKENIZER_BPE_DEFINITION_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace amend {

// The expression by which text is cut into words before its pairs are merged.
enum class SplitExpression { kNone, kGpt2, kLlama3, kQwen2 };

// How the vocabulary spells bytes.
enum class Spelling {
  // Every byte as one printable character (GPT-2).
  kByteLevel,
  // Characters as they are, a space as U+2581, single bytes as "<0x41>" (SentencePiece).
  kSentencePiece,
};

// What a tokenizer's files say, checked for form alone.
struct BpeDefinition {
  // Path that messages name for the vocabulary, and for the merges.
  std::string vocabulary_source;
  std::string merges_source;
  Spelling spelling = Spelling::kByteLevel;
  SplitExpression split = SplitExpression::kGpt2;
  // Whether text is put into Unicode's form NFC first.
  bool composes = false;
  // Whether a word that is a token of its own is that token, whatever merges say.
  bool whole_words = false;
  // Token, spelt as `spelling` says, and its id.
  std::vector<std::pair<std::string, int64_t>> vocabulary;
  // Pairs of tokens in the order of their priority.
  std::vector<std::pair<std::string, std::string>> merges;
  // Content of added tokens, spelt plainly, and their ids. May repeat entries of the vocabulary.
  std::vector<std::pair<std::string, int64_t>> added;
  // Those that stand for their content where a text has it: the others, special ones, do not.
  std::vector<std::pair<std::string, int64_t>> matched;
  // Tokens before every text, and whether a text begins with a space of its own (unless one is
  // there already, where `only_one_space`).
  std::vector<int64_t> beginning;
  bool begins_with_space = false;
  bool only_one_space = false;
};

// Reads tokenizer.json, or where there is none vocab.json and merges.txt (and added_tokens.json if
// it exists). NOT_FOUND naming the file that is missing; INVALID_ARGUMENT naming file, entry and
// value when one is malformed or describes something other than byte-level BPE (of GPT-2, GPT-NeoX,
// Llama 3 and Qwen2, by their expressions) or SentencePiece's BPE (of Llama 2 and Mistral).
absl::StatusOr<BpeDefinition> ReadBpeDefinition(const std::string& directory);

}  // namespace amend

#endif  // AMEND_CORE_TOKENIZER_BPE_DEFINITION_H_
