#include "core/tokenizer/tokenizer.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/tokenizer/bpe_definition.h"
#include "core/tokenizer/bpe_tokenizer.h"

namespace amend {

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromDirectory(const std::string& directory) {
  AMEND_ASSIGN_OR_RETURN(const BpeDefinition definition, ReadBpeDefinition(directory));
  return BpeTokenizer::Create(definition);
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const TokenId> ids) const {
  std::string bytes;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocabulary_size()) {
      return absl::OutOfRangeError(absl::StrCat("token ", i, " has id ", ids[i],
                                                ", outside the vocabulary of ", vocabulary_size()));
    }
    absl::StrAppend(&bytes, TokenBytes(ids[i]));
  }
  return bytes;
}

}  // namespace amend
