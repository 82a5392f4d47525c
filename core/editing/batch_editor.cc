#include "core/editing/batch_editor.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>

#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/editing/edit_rows.h"
#include "core/editing/edit_validation.h"
#include "core/editing/layer_updates.h"
#include "core/editing/target_values.h"
#include "core/editing/tensor_matrix.h"
#include "core/model/torch_device.h"

namespace amend {

struct EditLine::State {
  LineLayers layers;
};

struct BatchEditor::State {
  std::shared_ptr<const CausalLm> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  EditSettings settings;
  // On the model's device.
  BackgroundFactors background;
};

namespace {

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

absl::Status CheckFinite(const std::map<LayerIndex, LayerUpdate>& updates) {
  for (const auto& [layer, update] : updates) {
    for (const at::Tensor& tensor : {update.u, update.v, update.keys, update.activations}) {
      if (!at::isfinite(tensor).all().item<bool>()) {
        return absl::AbortedError(
            absl::StrCat("the update of layer ", layer.value(), " is not finite"));
      }
    }
  }
  return absl::OkStatus();
}

LayerFactors ToFactors(LayerIndex layer, const LayerUpdate& update) {
  LayerFactors factors;
  factors.layer = layer;
  factors.u = ToMatrix(update.u);
  factors.v = ToMatrix(update.v);
  factors.keys = ToMatrix(update.keys);
  factors.activations = ToMatrix(update.activations.unsqueeze(0)).values;
  return factors;
}

}  // namespace

EditLine::EditLine(std::unique_ptr<State> state) : state_(std::move(state)) {}
EditLine::~EditLine() = default;

absl::Status EditLine::Append(const RevisionFactors& factors) {
  return CatchTorch("appending keys to the line", [&]() -> absl::Status {
    // All of them first: a line never holds half a batch.
    for (const LayerFactors& layer : factors.layers) {
      const auto it = state_->layers.find(layer.layer);
      const int64_t size = it == state_->layers.end() ? 0 : it->second.size();
      if (size != layer.keys.cols) {
        return absl::InvalidArgumentError(absl::StrCat("keys of layer ", layer.layer.value(),
                                                       " have ", layer.keys.cols,
                                                       " dimensions, the covariance ", size));
      }
    }
    for (const LayerFactors& layer : factors.layers) {
      AMEND_RETURN_IF_ERROR(state_->layers.at(layer.layer).Append(ToTensor(layer.keys)));
    }
    return absl::OkStatus();
  });
}

BatchEditor::BatchEditor(std::unique_ptr<const State> state) : state_(std::move(state)) {}
BatchEditor::~BatchEditor() = default;

absl::StatusOr<std::unique_ptr<BatchEditor>> BatchEditor::Create(
    std::shared_ptr<const CausalLm> model, std::shared_ptr<const Tokenizer> tokenizer,
    EditSettings settings, BackgroundFactors background) {
  AMEND_RETURN_IF_ERROR(CheckSettings(settings, model->config()));
  auto state = std::make_unique<State>();
  const int64_t d_in = model->config().intermediate_size;
  for (const LayerIndex layer : settings.layers) {
    const auto found = background.find(layer);
    if (found == background.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the key covariance lacks edited layer ", layer.value()));
    }
    if (found->second->size() != d_in) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the key covariance of layer ", layer.value(), " is [", found->second->size(), ", ",
          found->second->size(), "], the model's keys have ", d_in, " dimensions"));
    }
    const absl::Status status = CatchTorch("moving the key covariance", [&]() -> absl::Status {
      state->background[layer] = found->second->To(TorchDevice(*model));
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
  }
  AMEND_ASSIGN_OR_RETURN(state->model, PrepareForTargets(std::move(model), settings));
  state->tokenizer = std::move(tokenizer);
  state->settings = std::move(settings);
  return std::unique_ptr<BatchEditor>(new BatchEditor(std::move(state)));
}

absl::StatusOr<std::unique_ptr<BatchEditor>> BatchEditor::Create(
    std::shared_ptr<const CausalLm> model, std::shared_ptr<const Tokenizer> tokenizer,
    EditSettings settings, KeyCovariance covariance) {
  AMEND_RETURN_IF_ERROR(CheckSettings(settings, model->config()));
  const int64_t d_in = model->config().intermediate_size;
  BackgroundFactors background;
  for (KeyCovariance::Layer& layer : covariance.layers) {
    if (layer.moment.rows != d_in || layer.moment.cols != d_in) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the key covariance of layer ", layer.layer.value(), " is [", layer.moment.rows, ", ",
          layer.moment.cols, "], the model's keys have ", d_in, " dimensions"));
    }
    AMEND_ASSIGN_OR_RETURN(background[layer.layer], FactorBackground(layer, settings.lambda));
    layer.moment = Matrix();
  }
  return Create(std::move(model), std::move(tokenizer), std::move(settings), std::move(background));
}

const EditSettings& BatchEditor::settings() const { return state_->settings; }

std::unique_ptr<EditLine> BatchEditor::NewLine() const {
  auto state = std::make_unique<EditLine::State>();
  for (const auto& [layer, factor] : state_->background)
    state->layers.emplace(layer, KeySolver(factor));
  return std::unique_ptr<EditLine>(new EditLine(std::move(state)));
}

absl::StatusOr<BatchSolution> BatchEditor::Solve(const EditLine& line,
                                                 const std::shared_ptr<const HookStack>& parent,
                                                 absl::Span<const Edit> edits,
                                                 const Callbacks& callbacks) const {
  const EditSettings& settings = state_->settings;
  const std::vector<EditViolation> violations =
      ValidateEdits(*state_->tokenizer, settings, state_->model->config().context_length, edits);
  if (edits.empty()) return absl::InvalidArgumentError("a batch needs at least one edit");
  if (!violations.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "edits[", violations[0].index, "].", violations[0].field, " ", violations[0].description));
  }
  std::vector<EditRows> rows;
  for (const Edit& edit : edits) {
    AMEND_ASSIGN_OR_RETURN(EditRows edit_rows, MakeEditRows(*state_->tokenizer, settings, edit));
    rows.push_back(std::move(edit_rows));
  }
  const auto report = [&](SolvePhase phase) {
    return [&callbacks, phase](int done, int total) {
      if (callbacks.progress) callbacks.progress(phase, done, total);
      return !callbacks.cancelled || !callbacks.cancelled();
    };
  };
  BatchSolution solution;
  const absl::Status status = CatchTorch("solving a batch of edits", [&]() -> absl::Status {
    AMEND_ASSIGN_OR_RETURN(TargetValues targets,
                           OptimizeTargetValues(*state_->model, *parent, settings, rows,
                                                report(SolvePhase::kTargetValues)));
    AMEND_ASSIGN_OR_RETURN(const auto updates,
                           SolveLayers(*state_->model, *parent, settings, rows, targets.z,
                                       &line.state_->layers, report(SolvePhase::kLayerUpdates)));
    AMEND_RETURN_IF_ERROR(CheckFinite(updates));
    for (const auto& [layer, update] : updates)
      solution.factors.layers.push_back(ToFactors(layer, update));
    solution.targets = std::move(targets.reports);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return solution;
}

}  // namespace amend
