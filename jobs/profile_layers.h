#ifndef AMEND_JOBS_PROFILE_LAYERS_H_
#define AMEND_JOBS_PROFILE_LAYERS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace amend::jobs {

// What a covariance job needs of a profile (amend.v1.Profile, the text proto that amendd reads).
struct ProfileLayers {
  std::vector<int> layers;
  // 0: the context length.
  int max_tokens_per_text = 0;
};

// NOT_FOUND, or INVALID_ARGUMENT naming the file and the line, or the file when it names no layer.
// Other fields are not checked: amendd does that.
absl::StatusOr<ProfileLayers> ReadProfileLayers(const std::string& path);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_PROFILE_LAYERS_H_
