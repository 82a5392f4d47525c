#ifndef AMEND_CORE_GENERATION_TEXT_STREAM_H_
#define AMEND_CORE_GENERATION_TEXT_STREAM_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace amend {

// Turns token bytes into text that can be shown at once: pieces end on UTF-8 borders, and nothing
// is emitted that might still turn out to be the beginning of a stop string. Bytes that cannot
// become valid UTF-8 are emitted as U+FFFD, one for each maximal subpart.
//
// The pieces together depend on the bytes alone, not on the tokens that brought them. Therefore a
// stop string that is complete does not end the text yet while one that began before it still may.
//
// Not thread-safe; owned by the sequence.
class TextStream {
 public:
  // `stop`: the text ends before the first occurrence of any of these (non-empty) strings; first is
  // the one that begins first.
  explicit TextStream(std::vector<std::string> stop);

  // Adds one token's bytes and returns the text that is certain now (may be empty). After a stop
  // string was found returns "" for ever.
  std::string Append(absl::string_view token_bytes);
  // No more tokens: returns what was held back (nothing when stopped). Call once, last. May find
  // the stop string that waited for one that began before it.
  std::string Finish();
  bool stopped() const { return stopped_; }

 private:
  // Where pending_ stops being certain; sets stopped_ when a stop string begins there.
  size_t FindBorder(bool final);
  std::string TakeCertain(bool final);

  std::vector<std::string> stop_;
  std::string pending_;  // bytes that were neither emitted nor dropped
  bool stopped_ = false;
};

}  // namespace amend

#endif  // AMEND_CORE_GENERATION_TEXT_STREAM_H_
