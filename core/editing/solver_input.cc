#include "core/editing/solver_input.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/editing/edit_validation.h"
#include "core/model/torch_device.h"

namespace amend {
namespace {

absl::Status WrongSize(LayerIndex layer, int64_t rows, int64_t cols, int64_t d_in) {
  return absl::InvalidArgumentError(absl::StrCat("the key covariance of layer ", layer.value(),
                                                 " is [", rows, ", ", cols,
                                                 "], the model's keys have ", d_in, " dimensions"));
}

}  // namespace

absl::Status CheckSettings(const EditSettings& settings, const ModelConfig& config) {
  if (settings.layers.empty()) return absl::InvalidArgumentError("no edited layers");
  for (size_t i = 0; i < settings.layers.size(); ++i) {
    const int layer = settings.layers[i].value();
    if (layer < 0 || layer >= config.layers) {
      return absl::InvalidArgumentError(
          absl::StrCat("edited layer ", layer, ": the model has ", config.layers));
    }
    if (i > 0 && settings.layers[i] <= settings.layers[i - 1]) {
      return absl::InvalidArgumentError(absl::StrCat("edited layers must ascend: ", layer,
                                                     " follows ", settings.layers[i - 1].value()));
    }
  }
  if (settings.loss_layer >= config.layers || settings.loss_layer < -1 ||
      (settings.loss_layer >= 0 && settings.loss_layer < settings.layers.back().value())) {
    return absl::InvalidArgumentError(
        absl::StrCat("loss layer ", settings.loss_layer, ": must be from the last edited layer ",
                     settings.layers.back().value(), " to ", config.layers - 1));
  }
  if (settings.scope == EditScope::kReference && !std::isfinite(settings.alpha)) {
    return absl::InvalidArgumentError(absl::StrCat("alpha ", settings.alpha, " must be finite"));
  }
  if (!(settings.lambda > 0) || !(settings.beta > 0 && settings.beta < 1) || settings.steps < 1) {
    return absl::InvalidArgumentError(absl::StrCat("lambda ", settings.lambda, " and steps ",
                                                   settings.steps, " must be positive, beta ",
                                                   settings.beta, " in (0, 1)"));
  }
  if (!(settings.clamp > 0) || !(settings.learning_rate > 0)) {
    return absl::InvalidArgumentError(absl::StrCat("clamp ", settings.clamp, " and learning rate ",
                                                   settings.learning_rate, " must be positive"));
  }
  for (const std::string& text : settings.context_templates) {
    const int places = CountOccurrences(text, "{}");
    if (places != 1) {
      return absl::InvalidArgumentError(absl::StrCat("context template \"", text, "\" holds {} ",
                                                     places, " times; it must hold it once"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BackgroundFactors> FactorCovariance(const ModelConfig& config,
                                                   const EditSettings& settings,
                                                   KeyCovariance covariance) {
  BackgroundFactors background;
  for (KeyCovariance::Layer& layer : covariance.layers) {
    const auto& edited = settings.layers;
    if (std::find(edited.begin(), edited.end(), layer.layer) == edited.end()) continue;
    const Matrix& moment = layer.moment;
    if (moment.rows != config.intermediate_size || moment.cols != config.intermediate_size) {
      return WrongSize(layer.layer, moment.rows, moment.cols, config.intermediate_size);
    }
    AMEND_ASSIGN_OR_RETURN(background[layer.layer], FactorBackground(layer, settings.lambda));
    // Not needed any more, and large.
    layer.moment = Matrix();
  }
  return background;
}

absl::StatusOr<BackgroundFactors> FactorsFor(const CausalLm& model, const EditSettings& settings,
                                             const BackgroundFactors& background) {
  BackgroundFactors factors;
  const int64_t d_in = model.config().intermediate_size;
  for (const LayerIndex layer : settings.layers) {
    const auto found = background.find(layer);
    if (found == background.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the key covariance lacks edited layer ", layer.value()));
    }
    const int64_t size = found->second->size();
    if (size != d_in) return WrongSize(layer, size, size, d_in);
    AMEND_RETURN_IF_ERROR(CatchTorch("moving the key covariance", [&] {
      factors[layer] = found->second->To(TorchDevice(model));
      return absl::OkStatus();
    }));
  }
  return factors;
}

absl::StatusOr<std::vector<EditRows>> CheckedRows(const Tokenizer& tokenizer,
                                                  const EditSettings& settings, int context_length,
                                                  absl::Span<const Edit> edits) {
  if (edits.empty()) return absl::InvalidArgumentError("a batch needs at least one edit");
  const std::vector<EditViolation> violations =
      ValidateEdits(tokenizer, settings, context_length, edits);
  if (!violations.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "edits[", violations[0].index, "].", violations[0].field, " ", violations[0].description));
  }
  std::vector<EditRows> rows;
  for (const Edit& edit : edits) {
    AMEND_ASSIGN_OR_RETURN(EditRows of_edit, MakeEditRows(tokenizer, settings, edit));
    rows.push_back(std::move(of_edit));
  }
  return rows;
}

}  // namespace amend
