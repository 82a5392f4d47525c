#include "server/server_plan.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/generation/cuda_graphs.h"
#include "core/generation/decoder.h"
#include "google/protobuf/text_format.h"
#include "server/background_texts.h"
#include "server/config_file.h"
#include "server/memory_limit.h"
#include "server/security/authorizer.h"
#include "server/security/listener_check.h"
#include "server/security/security_files.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<LoadOptions> LoadOptionsOf(const ServerOptions& options) {
  LoadOptions load;
  if (options.dtype == "bfloat16") {
    load.dtype = Dtype::kBFloat16;
  } else if (options.dtype != "float32") {
    return absl::InvalidArgumentError(
        absl::StrCat("dtype is \"", options.dtype, "\", not float32 or bfloat16"));
  }
  if (options.device == "auto") {
    load.device = CudaIsAvailable() ? Device::kCuda : Device::kCpu;
  } else if (options.device == "cuda") {
    // LoadCausalLm refuses it where there is none.
    load.device = Device::kCuda;
  } else if (options.device != "cpu") {
    return absl::InvalidArgumentError(
        absl::StrCat("device is \"", options.device, "\", not auto, cpu or cuda"));
  }
  return load;
}

// INVALID_ARGUMENT for CUDA graphs on another device, FAILED_PRECONDITION in a build without them.
absl::Status CheckGraphs(const ServerOptions& options, const LoadOptions& load) {
  if (!options.cuda_graphs) return absl::OkStatus();
  if (load.device != Device::kCuda) {
    return absl::InvalidArgumentError(
        absl::StrCat("cuda_graphs is true and device is \"", options.device, "\"",
                     options.device == "auto" ? ", which is cpu here" : "",
                     ": CUDA graphs need the device cuda"));
  }
  if (NewCudaGraphRecorder() != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "cuda_graphs is true, and this build has no CUDA graphs: they need a LibTorch with CUDA and "
      "the headers of CUDA's runtime when amendd is built (third_party/libtorch.bzl)");
}

// INVALID_ARGUMENT for a profile that edits a model but cannot serve it.
absl::Status CheckServable(const EditProfile& profile) {
  if (profile.settings.scope == EditScope::kLeverage) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the profile ", profile.proto.name(),
      " cannot serve: scope.mode REFERENCE compares each token with all tokens of its row, later "
      "ones and padding among them, so that cached, chunked and batched forwards would not agree; "
      "scope.mode LEVERAGE serves, and tests/benchmark/editing:edit_benchmark edits and evaluates "
      "with REFERENCE"));
}

// "there", "not there yet"; FAILED_PRECONDITION where something else is.
absl::StatusOr<std::string> StateOfDirectory(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::string("not there yet");
  if (fs::is_directory(path, error)) return std::string("there");
  return absl::FailedPreconditionError(absl::StrCat(path, " is not a directory"));
}

// Whether a server with these options would listen and know its callers.
absl::Status CheckSecurity(const ServerOptions& options) {
  AMEND_RETURN_IF_ERROR(CheckListeners(options.security, options.grpc_address));
  Authorizer authorizer;
  SecurityFiles::Options security;
  security.files = options.security;
  security.authorizer = &authorizer;
  return SecurityFiles::Load(std::move(security)).status();
}

// Of the files with the model's weights; those of a served type that is wider are more in memory.
int64_t WeightBytes(const std::string& directory) {
  int64_t bytes = 0;
  std::error_code error;
  for (const auto& file : fs::directory_iterator(directory, error)) {
    const fs::path name = file.path().filename();
    const bool is_weights = absl::StartsWith(name.string(), "model");
    if (is_weights && name.extension() == ".safetensors") bytes += file.file_size(error);
  }
  return bytes;
}

// RESOURCE_EXHAUSTED where the server could not hold what it is asked to.
absl::Status CheckRoom(const ServerOptions& options, const ServerPlan& plan) {
  const int64_t block =
      Decoder::BlockBytes(plan.config, plan.load.dtype, plan.profile.settings.layers.front());
  const int64_t asked = int64_t{options.kv_cache_mib} << 20;
  if (asked > 0) AMEND_RETURN_IF_ERROR(CheckKvCache(asked, block));
  // The default begins small and is bounded: a machine without room for it says so when it is used.
  if (plan.load.device != Device::kCpu) return absl::OkStatus();
  return CheckMemory(WeightBytes(options.model_directory), std::max(asked, block),
                     ReadMemoryLimit());
}

}  // namespace

absl::StatusOr<EditProfile> ChooseProfile(const ServerOptions& options, const ModelConfig& config) {
  if (options.profile) return CheckProfile(options.profile_name, *options.profile, config);
  if (!options.profile_file.empty()) return LoadProfile(options.profile_file, config);
  return BuiltInProfile(config);
}

absl::StatusOr<ServerPlan> PlanServer(const ServerOptions& options) {
  ServerPlan plan;
  AMEND_ASSIGN_OR_RETURN(plan.load, LoadOptionsOf(options));
  AMEND_RETURN_IF_ERROR(CheckGraphs(options, plan.load));
  AMEND_ASSIGN_OR_RETURN(plan.config, ReadModelConfig(options.model_directory));
  AMEND_ASSIGN_OR_RETURN(plan.profile, ChooseProfile(options, plan.config));
  AMEND_RETURN_IF_ERROR(CheckServable(plan.profile));
  AMEND_ASSIGN_OR_RETURN(plan.background_texts,
                         ReadBackgroundTexts(plan.profile, options.model_directory));
  AMEND_ASSIGN_OR_RETURN(plan.tokenizer, Tokenizer::FromDirectory(options.model_directory));
  if (plan.tokenizer->vocabulary_size() > plan.config.vocabulary_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.model_directory, ": the tokenizer has ", plan.tokenizer->vocabulary_size(),
        " tokens, the model's vocabulary ", plan.config.vocabulary_size));
  }
  AMEND_RETURN_IF_ERROR(CheckRoom(options, plan));
  return plan;
}

absl::StatusOr<std::string> DescribeServer(const ServerOptions& options) {
  AMEND_RETURN_IF_ERROR(CheckSecurity(options));
  AMEND_ASSIGN_OR_RETURN(const ServerPlan plan, PlanServer(options));
  AMEND_ASSIGN_OR_RETURN(const std::string data, StateOfDirectory(options.data_directory));
  std::string text = absl::StrCat(
      "# amendd would serve the model ", NameOfModel(options.model_directory), " (",
      plan.config.architecture, ", ", plan.config.layers, " layers, context ",
      plan.config.context_length, ", ", plan.load.device == Device::kCuda ? "cuda" : "cpu", ", ",
      options.dtype, ") with the profile \"", plan.profile.proto.name(), "\"\n", "# on ",
      options.grpc_address, " (gRPC) and ", options.http_address, " (HTTP),\n",
      "# with the data directory ", options.data_directory, " (", data, ").\n");
  if (!options.backup_directory.empty()) {
    AMEND_ASSIGN_OR_RETURN(const std::string backups, StateOfDirectory(options.backup_directory));
    absl::StrAppend(&text, "# Backups go to ", options.backup_directory, " (", backups, ").\n");
  }
  std::string config;
  google::protobuf::TextFormat::PrintToString(ConfigOf(options), &config);
  return absl::StrCat(text, config);
}

std::string NameOfModel(const std::string& directory) {
  const fs::path path = fs::absolute(directory).lexically_normal();
  return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

}  // namespace amend
