#include "jobs/compute_command.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/editing/covariance_run.h"
#include "core/editing/key_covariance.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"
#include "jobs/profile_layers.h"
#include "jobs/progress_line.h"
#include "jobs/settling_report.h"

namespace amend::jobs {
namespace {

std::string LayersText(const std::vector<LayerIndex>& layers) {
  return absl::StrJoin(layers, ", ", [](std::string* out, LayerIndex layer) {
    absl::StrAppend(out, layer.value());
  });
}

// From --layers or the profile, ascending; errors name the layers that the model has.
absl::Status TakeLayers(const ComputeOptions& options, const ModelConfig& config,
                        KeyCovarianceEstimator::Options* estimator) {
  std::vector<int> layers = options.layers;
  estimator->max_tokens_per_text = options.max_tokens_per_text;
  if (!options.profile_file.empty()) {
    AMEND_ASSIGN_OR_RETURN(const ProfileLayers profile, ReadProfileLayers(options.profile_file));
    layers = profile.layers;
    if (options.max_tokens_per_text == 0)
      estimator->max_tokens_per_text = profile.max_tokens_per_text;
  }
  const std::string there =
      absl::StrCat(options.model_directory, " has layers 0 to ", config.layers - 1);
  if (layers.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("give --layers or --profile: which layers are edited; ", there));
  }
  std::sort(layers.begin(), layers.end());
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i] < 0 || layers[i] >= config.layers)
      return absl::InvalidArgumentError(absl::StrCat("layer ", layers[i], ": ", there));
    if (i > 0 && layers[i] == layers[i - 1])
      return absl::InvalidArgumentError(absl::StrCat("layer ", layers[i], " is given twice"));
    estimator->layers.push_back(LayerIndex(layers[i]));
  }
  return absl::OkStatus();
}

absl::StatusOr<LoadOptions> ToLoadOptions(const ComputeOptions& options) {
  LoadOptions load;
  if (options.dtype == "bfloat16") load.dtype = Dtype::kBFloat16;
  const bool cuda = CudaIsAvailable();
  if (options.device == "cuda" && !cuda)
    return absl::FailedPreconditionError("--device cuda, but LibTorch sees no CUDA device");
  if (cuda && options.device != "cpu") load.device = Device::kCuda;
  return load;
}

absl::Status WriteText(const std::string& text, const std::string& path) {
  std::ofstream file(path, std::ios::trunc);
  file << text << std::flush;
  return file ? absl::OkStatus() : absl::UnavailableError(absl::StrCat("cannot write ", path));
}

// Loads the model and runs. CANCELLED when a signal came.
absl::StatusOr<CovarianceRun> Run(const JobContext& context, const ComputeOptions& options,
                                  const ModelConfig& config, CovarianceRunOptions run) {
  AMEND_RETURN_IF_ERROR(TakeLayers(options, config, &run.estimator));
  if (!std::ifstream(options.text_file).is_open())
    return absl::NotFoundError(absl::StrCat("cannot read the text file ", options.text_file));
  AMEND_ASSIGN_OR_RETURN(const LoadOptions load, ToLoadOptions(options));
  if (options.threads > 0) SetComputeThreads(options.threads);
  AMEND_ASSIGN_OR_RETURN(run.model_fingerprint, ModelFingerprint(options.model_directory));
  AMEND_ASSIGN_OR_RETURN(const auto model, LoadCausalLm(options.model_directory, load));
  AMEND_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::FromDirectory(options.model_directory));
  ProgressLine line(context.err, context.terminal, options.max_tokens, context.clock);
  run.progress = [&](const CovarianceProgress& progress) {
    line.Update(progress);
    return context.stop_signal == nullptr || *context.stop_signal == 0;
  };
  absl::StatusOr<CovarianceRun> result = RunCovariance(*model, *tokenizer, run);
  line.End();
  return result;
}

absl::Status WriteResult(const JobContext& context, const ComputeOptions& options,
                         const ModelConfig& config, const CovarianceRun& run) {
  if (!options.no_settling) {
    AMEND_RETURN_IF_ERROR(
        WriteText(SettlingJson(run), absl::StrCat(options.out_file, ".settling.json")));
  }
  AMEND_RETURN_IF_ERROR(SaveKeyCovariance(run.covariance, options.out_file));
  std::vector<LayerIndex> layers;
  for (const KeyCovariance::Layer& layer : run.covariance.layers) layers.push_back(layer.layer);
  *context.out << SettlingTable(run) << options.out_file << ": layers " << LayersText(layers)
               << ", keys of " << config.intermediate_size << ", from " << run.covariance.tokens
               << " tokens in " << run.lines << " lines" << std::endl;
  if (run.covariance.tokens < config.intermediate_size) {
    *context.err << "amend covariance: warning: " << run.covariance.tokens
                 << " tokens are fewer than the " << config.intermediate_size
                 << " dimensions of a key: the covariance is singular and edits will fail; give "
                    "more text"
                 << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace

int RunCompute(const JobContext& context, const ComputeOptions& options) {
  if (const absl::Status output = CheckOutput(options.out_file, options.overwrite); !output.ok())
    return Fail(context, output);
  const absl::StatusOr<ModelConfig> config = ReadModelConfig(options.model_directory);
  if (!config.ok()) return Fail(context, config.status());
  CovarianceRunOptions run;
  run.estimator.max_tokens = options.max_tokens;
  run.estimator.watch_settling = !options.no_settling;
  run.text_file = options.text_file;
  run.checkpoint_file = absl::StrCat(options.out_file, ".partial");
  run.checkpoint_seconds = options.checkpoint_seconds;
  run.restart = options.restart;
  run.clock = context.clock;
  const absl::StatusOr<CovarianceRun> result = Run(context, options, *config, run);
  if (absl::IsCancelled(result.status())) {
    const bool saved = access(run.checkpoint_file.c_str(), F_OK) == 0;
    *context.err << "amend covariance: " << result.status().message()
                 << (saved ? "; the same command goes on from " + run.checkpoint_file : "")
                 << std::endl;
    return kExitSignal + *context.stop_signal;
  }
  if (!result.ok() && !absl::IsUnavailable(result.status()) &&
      absl::StrContains(result.status().message(), run.checkpoint_file)) {
    return Fail(context, absl::Status(result.status().code(),
                                      absl::StrCat(result.status().message(),
                                                   "; --restart begins without it")));
  }
  if (!result.ok()) return Fail(context, result.status());
  if (const absl::Status written = WriteResult(context, options, *config, *result); !written.ok())
    return Fail(context, written);
  RemoveCheckpoint(run.checkpoint_file);
  return kExitOk;
}

}  // namespace amend::jobs
