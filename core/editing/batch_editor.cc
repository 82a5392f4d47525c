#include "core/editing/batch_editor.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>

#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/editing/edit_rows.h"
#include "core/editing/layer_updates.h"
#include "core/editing/solver_input.h"
#include "core/editing/target_values.h"
#include "core/editing/tensor_matrix.h"

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

std::vector<KeyOverlap> FindOverlaps(const HookStack& parent, LayerIndex layer,
                                     const LayerUpdate& update) {
  const auto edits = static_cast<int32_t>(update.keys.size(0));
  std::vector<std::vector<KeyOverlap>> found(static_cast<size_t>(edits));
  const at::Tensor relative =
      (at::matmul(update.keys, update.v.t()) / update.activations).to(at::kCPU).contiguous();
  const auto values = relative.accessor<float, 2>();
  for (int32_t edit = 0; edit < edits; ++edit) {
    for (int32_t other = edits - 1; other >= 0; --other) {
      if (other != edit && values[edit][other] >= kSharedKey)
        found[static_cast<size_t>(edit)].push_back({edit, {}, other, values[edit][other]});
    }
  }
  const std::vector<KeyMatch> matches = parent.MatchKeys(layer, update.keys, kSharedKey);
  for (auto match = matches.rbegin(); match != matches.rend(); ++match) {
    const auto edit = static_cast<int32_t>(match->row);
    found[static_cast<size_t>(edit)].push_back({edit, match->edit, -1, match->relative_activation});
  }
  std::vector<KeyOverlap> overlaps;
  for (std::vector<KeyOverlap>& some : found) {
    if (some.size() > kMaxOverlaps) some.resize(kMaxOverlaps);
    overlaps.insert(overlaps.end(), some.begin(), some.end());
  }
  return overlaps;
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
  AMEND_ASSIGN_OR_RETURN(state->background, FactorsFor(*model, settings, background));
  AMEND_ASSIGN_OR_RETURN(state->model, PrepareForTargets(std::move(model), settings));
  state->tokenizer = std::move(tokenizer);
  state->settings = std::move(settings);
  return std::unique_ptr<BatchEditor>(new BatchEditor(std::move(state)));
}

absl::StatusOr<std::unique_ptr<BatchEditor>> BatchEditor::Create(
    std::shared_ptr<const CausalLm> model, std::shared_ptr<const Tokenizer> tokenizer,
    EditSettings settings, KeyCovariance covariance) {
  AMEND_RETURN_IF_ERROR(CheckSettings(settings, model->config()));
  AMEND_ASSIGN_OR_RETURN(BackgroundFactors background,
                         FactorCovariance(model->config(), settings, std::move(covariance)));
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
  AMEND_ASSIGN_OR_RETURN(
      const std::vector<EditRows> rows,
      CheckedRows(*state_->tokenizer, settings, state_->model->config().context_length, edits));
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
    for (const auto& [layer, update] : updates) {
      solution.factors.layers.push_back(ToFactors(layer, update));
      solution.key_seconds += update.key_seconds;
    }
    solution.targets = std::move(targets.reports);
    const LayerIndex first = settings.layers.front();
    solution.overlaps = FindOverlaps(*parent, first, updates.at(first));
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return solution;
}

}  // namespace amend
