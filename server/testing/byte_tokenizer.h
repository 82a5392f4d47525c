#ifndef AMEND_SERVER_TESTING_BYTE_TOKENIZER_H_
#define AMEND_SERVER_TESTING_BYTE_TOKENIZER_H_

#include <string>
#include <vector>

#include "core/tokenizer/tokenizer.h"

namespace amend {

// One token per byte; the id is the byte. Thread-compatible.
class ByteTokenizer : public Tokenizer {
 public:
  ByteTokenizer() {
    for (int i = 0; i < 256; ++i) bytes_.push_back(std::string(1, static_cast<char>(i)));
  }

  std::vector<TokenId> Encode(absl::string_view text) const override {
    ++encode_count_;
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  absl::string_view TokenBytes(TokenId id) const override {
    return id >= 0 && id < 256 ? absl::string_view(bytes_[id]) : absl::string_view();
  }
  int vocabulary_size() const override { return 256; }

  int encode_count() const { return encode_count_; }

 private:
  std::vector<std::string> bytes_;
  mutable int encode_count_ = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_TESTING_BYTE_TOKENIZER_H_
