#ifndef AMEND_SERVER_BACKGROUND_TEXTS_H_
#define AMEND_SERVER_BACKGROUND_TEXTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/profile.h"

namespace amend {

// The texts on which the gate measures what an edit has to leave alone: those of the profile, then
// the lines of its file that are not empty, as many as it asks for. NOT_FOUND or INVALID_ARGUMENT,
// naming the file, where that cannot be read.
absl::StatusOr<std::vector<std::string>> ReadBackgroundTexts(const EditProfile& profile,
                                                             const std::string& model_directory);

}  // namespace amend

#endif  // AMEND_SERVER_BACKGROUND_TEXTS_H_
