#ifndef AMEND_CORE_TOKENIZER_COMPOSED_TEXT_H_
#define AMEND_CORE_TOKENIZER_COMPOSED_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace amend {

// `text` in Unicode's normalization form NFC, of the Unicode version that utf8proc was built with.
// Bytes that are not well-formed UTF-8 stay as they are, and so does what stands on either side, as
// if the text ended there.
std::string ComposeCharacters(absl::string_view text);

}  // namespace amend

#endif  // AMEND_CORE_TOKENIZER_COMPOSED_TEXT_H_
