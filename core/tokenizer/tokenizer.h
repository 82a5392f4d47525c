#ifndef AMEND_CORE_TOKENIZER_TOKENIZER_H_
#define AMEND_CORE_TOKENIZER_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/types.h"

namespace amend {

// Byte-level BPE (GPT-2, GPT-NeoX, Llama 3, Qwen2) or SentencePiece's BPE (Llama 2, Mistral) as
// Hugging Face tokenizers does it. Every byte string has a tokenization, also where it is not valid
// UTF-8, and Decode(EncodeContinuation(x)) == x; of a tokenizer that puts text into Unicode's form
// NFC first, or knows spaces and U+2581 as the same, it is x in that form. Special tokens
// ("<|endoftext|>") in the input are treated as plain text. Thread-safe (immutable).
class Tokenizer {
 public:
  // Reads tokenizer.json, or vocab.json + merges.txt where there is none, from a Hugging Face model
  // directory. NOT_FOUND when neither exists; INVALID_ARGUMENT, naming file and entry, when one is
  // malformed or of another kind.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromDirectory(const std::string& directory);
  virtual ~Tokenizer() = default;

  // Tokens of a text that begins a sequence: with what the model expects before every text, as
  // Llama does its "<s>" (and, in SentencePiece's kind, a space).
  virtual std::vector<TokenId> Encode(absl::string_view text) const = 0;
  // Of a text that goes on after other tokens.
  virtual std::vector<TokenId> EncodeContinuation(absl::string_view text) const {
    return Encode(text);
  }
  // What Encode puts before the tokens of a text.
  virtual absl::Span<const TokenId> beginning() const { return {}; }
  // The bytes of one token, of an added token its content; empty for an id outside the vocabulary
  // or in a gap of it. Lives as long as the tokenizer.
  virtual absl::string_view TokenBytes(TokenId id) const = 0;
  // Number of ids; valid ids are 0 .. vocabulary_size() - 1.
  virtual int vocabulary_size() const = 0;

  // Concatenated bytes of `ids`; may end inside a UTF-8 character. OUT_OF_RANGE, naming the id and
  // the vocabulary's size.
  absl::StatusOr<std::string> Decode(absl::Span<const TokenId> ids) const;
};

}  // namespace amend

#endif  // AMEND_CORE_TOKENIZER_TOKENIZER_H_
