#ifndef AMEND_SERVER_PROFILE_H_
#define AMEND_SERVER_PROFILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "amend/v1/profile.pb.h"
#include "core/editing/edit_settings.h"
#include "core/model/model_config.h"
#include "storage/records.h"

namespace amend {

// How this server edits its model: a checked amend.v1.Profile in core terms. Plain data.
struct EditProfile {
  // Defaults filled in.
  v1::Profile proto;
  // `context_templates` is empty when they are to be sampled with `template_seed`.
  EditSettings settings;
  uint64_t template_seed = 0;
  // Exactly one of the two is set; relative to the model directory unless absolute.
  std::string covariance_text_file;
  std::string covariance_file;
  // 0 means the model's context length.
  int max_tokens_per_text = 0;
  // False: the gate only records scores.
  bool gate_enforced = true;
  GateThresholds gate_thresholds;
  // What the gate's background consists of: these texts, then the lines of the file (relative to
  // the model directory unless absolute), all together at most max_background_texts.
  std::vector<std::string> background_texts;
  std::string background_text_file;
  int max_background_texts = 0;
  int max_tokens_per_background_text = 0;
};

// The built-in profile whose `match` fits. NOT_FOUND, naming the model's shape and the profiles
// there are.
absl::StatusOr<EditProfile> BuiltInProfile(const ModelConfig& config);

// Reads a text proto. Errors name the file and the line, or the field and its value;
// INVALID_ARGUMENT naming both values for one that is meant for another model.
absl::StatusOr<EditProfile> LoadProfile(const std::string& path, const ModelConfig& config);

// As LoadProfile; `name` stands for the file in messages.
absl::StatusOr<EditProfile> ParseProfile(absl::string_view name, const std::string& text,
                                         const ModelConfig& config);

// As ParseProfile, of a profile that was read already.
absl::StatusOr<EditProfile> CheckProfile(absl::string_view name, v1::Profile profile,
                                         const ModelConfig& config);

// What the gate asks for.
GateThresholds ThresholdsOf(const v1::GateSettings& gate);

// Canonical text of what shapes the edits, one "name: value" per line: the same settings give the
// same text. Context templates and covariance are not part of it (a store keeps them by
// themselves).
std::string HyperparametersText(const EditSettings& settings);

}  // namespace amend

#endif  // AMEND_SERVER_PROFILE_H_
