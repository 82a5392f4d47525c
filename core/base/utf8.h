#ifndef AMEND_CORE_BASE_UTF8_H_
#define AMEND_CORE_BASE_UTF8_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace amend {

// What a byte string begins with.
struct Utf8Step {
  enum class Kind {
    kValid,       // one well-formed character
    kInvalid,     // bytes that no continuation can make well-formed
    kIncomplete,  // nothing but the beginning of a well-formed character
  };
  Kind kind;
  // Bytes it covers, 1 to 4. Of ill-formed text it is the maximal subpart, which decoders replace
  // by one U+FFFD (Unicode 15, section 3.9, table 3-8). Of kIncomplete it is all that is left.
  size_t length;
};

// Looks at the first character of `bytes`, which is not empty.
Utf8Step FirstUtf8(absl::string_view bytes);

}  // namespace amend

#endif  // AMEND_CORE_BASE_UTF8_H_
