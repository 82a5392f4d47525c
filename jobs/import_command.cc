#include "jobs/import_command.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/editing/key_covariance.h"
#include "core/model/model_config.h"
#include "jobs/import_covariance.h"

namespace amend::jobs {
namespace {

absl::Status Import(const JobContext& context, const ImportOptions& options) {
  AMEND_RETURN_IF_ERROR(CheckOutput(options.out_file, options.overwrite));
  AMEND_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(options.model_directory));
  std::map<LayerIndex, std::string> files;
  for (const std::string& argument : options.npz_files) {
    AMEND_ASSIGN_OR_RETURN(LayerFile file, ParseLayerFile(argument));
    if (file.layer.value() < 0 || file.layer.value() >= config.layers) {
      return absl::InvalidArgumentError(absl::StrCat(argument, ": layer ", file.layer.value(), ", ",
                                                     options.model_directory, " has layers 0 to ",
                                                     config.layers - 1));
    }
    const auto [it, added] = files.emplace(file.layer, file.path);
    if (!added) {
      return absl::InvalidArgumentError(absl::StrCat(
          "layer ", file.layer.value(), " is given twice: ", it->second, " and ", file.path));
    }
  }
  KeyCovariance covariance;
  for (const auto& [layer, path] : files) {
    AMEND_ASSIGN_OR_RETURN(ImportedMoment moment, ImportMoment(path, config.intermediate_size));
    *context.out << "layer " << layer.value() << ": " << path << ", " << moment.tokens << " tokens"
                 << std::endl;
    if (moment.tokens < config.intermediate_size) {
      *context.err << "amend covariance: warning: " << path << ": " << moment.tokens
                   << " tokens are fewer than the " << config.intermediate_size
                   << " dimensions of a key: the covariance is singular and edits will fail"
                   << std::endl;
    }
    // The file has one count: that of the layer with the fewest.
    if (covariance.tokens == 0 || moment.tokens < covariance.tokens)
      covariance.tokens = moment.tokens;
    covariance.layers.push_back({layer, std::move(moment.moment)});
  }
  AMEND_RETURN_IF_ERROR(SaveKeyCovariance(covariance, options.out_file));
  *context.out << options.out_file << ": " << covariance.layers.size() << " layers, keys of "
               << config.intermediate_size << std::endl;
  return absl::OkStatus();
}

}  // namespace

int RunImport(const JobContext& context, const ImportOptions& options) {
  const absl::Status status = Import(context, options);
  return status.ok() ? kExitOk : Fail(context, status);
}

}  // namespace amend::jobs
