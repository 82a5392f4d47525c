#ifndef AMEND_SERVER_SERVER_PLAN_H_
#define AMEND_SERVER_SERVER_PLAN_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/causal_lm.h"
#include "core/model/model_config.h"
#include "core/tokenizer/tokenizer.h"
#include "server/profile.h"
#include "server/server_options.h"

namespace amend {

// What can be known of a server before its weights are read. Plain data.
struct ServerPlan {
  ModelConfig config;
  LoadOptions load;
  EditProfile profile;
  std::vector<std::string> background_texts;
  std::shared_ptr<const Tokenizer> tokenizer;
};

// The profile that the options name, checked; the built-in one where they name none.
absl::StatusOr<EditProfile> ChooseProfile(const ServerOptions& options, const ModelConfig& config);

// Reads the small files that the options name and checks that they fit each other: what is wrong
// with a profile should not wait for gigabytes. Errors name the file, or the field and its value.
absl::StatusOr<ServerPlan> PlanServer(const ServerOptions& options);

// What `amendd --check-config` prints: a text proto of amend.v1.ServerConfig that says all that
// `options` say, under comments with what the server would do. Errors as PlanServer's, and those of
// a data directory that cannot be one. Changes nothing.
absl::StatusOr<std::string> DescribeServer(const ServerOptions& options);

// The model directory's last name, also where the path ends with a slash.
std::string NameOfModel(const std::string& directory);

}  // namespace amend

#endif  // AMEND_SERVER_SERVER_PLAN_H_
