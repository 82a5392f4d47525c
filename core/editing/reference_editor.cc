#include "core/editing/reference_editor.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/editing/solver_input.h"
#include "core/editing/target_values.h"
#include "core/model/torch_device.h"

namespace amend {

absl::StatusOr<at::Tensor> UpdateIncrement(KeySolver* solver, const at::Tensor& keys,
                                           const at::Tensor& target_values,
                                           const at::Tensor& current, double share) {
  AMEND_ASSIGN_OR_RETURN(const at::Tensor v, solver->Solve(keys));
  const at::Tensor residuals = (target_values - current).to(at::kDouble) / share;
  return at::matmul(residuals.t(), v);
}

double LoweredAlpha(double alpha, const at::Tensor& largest_scores) {
  const at::Tensor scores = largest_scores.to(at::kCPU, at::kDouble).contiguous();
  for (int64_t i = 0; i < scores.numel(); ++i) {
    const double score = scores.const_data_ptr<double>()[i];
    if (!std::isnan(score)) alpha = std::min(alpha, score);
  }
  return alpha;
}

ReferenceEditor::ReferenceEditor(std::shared_ptr<const CausalLm> model,
                                 std::shared_ptr<const Tokenizer> tokenizer, EditSettings settings,
                                 BackgroundFactors background)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      settings_(std::move(settings)),
      background_(std::move(background)) {}

absl::StatusOr<std::unique_ptr<ReferenceEditor>> ReferenceEditor::Create(
    std::shared_ptr<const CausalLm> model, std::shared_ptr<const Tokenizer> tokenizer,
    EditSettings settings, KeyCovariance covariance) {
  AMEND_RETURN_IF_ERROR(CheckSettings(settings, model->config()));
  AMEND_ASSIGN_OR_RETURN(const BackgroundFactors factored,
                         FactorCovariance(model->config(), settings, std::move(covariance)));
  AMEND_ASSIGN_OR_RETURN(BackgroundFactors background, FactorsFor(*model, settings, factored));
  AMEND_ASSIGN_OR_RETURN(model, PrepareForTargets(std::move(model), settings));
  return std::unique_ptr<ReferenceEditor>(new ReferenceEditor(
      std::move(model), std::move(tokenizer), std::move(settings), std::move(background)));
}

ReferenceLine ReferenceEditor::NewLine() const {
  const ModelConfig& config = model_->config();
  const at::Tensor zero =
      at::zeros({config.hidden_size, config.intermediate_size},
                at::TensorOptions().dtype(at::kFloat).device(TorchDevice(*model_)));
  ReferenceLine line;
  for (const auto& [layer, factor] : background_) {
    line.layers[layer] = {zero, settings_.alpha};
    line.solvers.emplace(layer, KeySolver(factor));
  }
  return line;
}

absl::StatusOr<std::vector<EditRows>> ReferenceEditor::Rows(absl::Span<const Edit> edits) const {
  return CheckedRows(*tokenizer_, settings_, model_->config().context_length, edits);
}

absl::StatusOr<ReferenceSolution> ReferenceEditor::Solve(const ReferenceLine& parent,
                                                         absl::Span<const Edit> edits) const {
  AMEND_ASSIGN_OR_RETURN(const std::vector<EditRows> rows, Rows(edits));
  ReferenceSolution solution;
  solution.line = parent;
  AMEND_RETURN_IF_ERROR(CatchTorch("solving a batch of edits", [&]() -> absl::Status {
    const at::NoGradGuard no_grad;
    const int last = settings_.layers.back().value();
    AMEND_ASSIGN_OR_RETURN(
        TargetValues targets,
        OptimizeTargetValues(*model_, ReferenceLowerBlocks(*model_, last, parent.layers), settings_,
                             rows, [](int, int) { return true; }));
    solution.target_values = std::move(targets.z);
    solution.targets = std::move(targets.reports);
    return Extend(rows, &solution);
  }));
  return solution;
}

absl::StatusOr<ReferenceSolution> ReferenceEditor::SolveGiven(
    const ReferenceLine& parent, absl::Span<const Edit> edits,
    const at::Tensor& target_values) const {
  AMEND_ASSIGN_OR_RETURN(const std::vector<EditRows> rows, Rows(edits));
  ReferenceSolution solution;
  solution.line = parent;
  solution.target_values = target_values;
  AMEND_RETURN_IF_ERROR(CatchTorch("solving a batch of edits", [&] {
    const at::NoGradGuard no_grad;
    return Extend(rows, &solution);
  }));
  return solution;
}

absl::Status ReferenceEditor::Extend(absl::Span<const EditRows> edits,
                                     ReferenceSolution* solution) const {
  AMEND_RETURN_IF_ERROR(SolveLayers(edits, solution));
  for (const auto& [layer, scores] : LargestScores(*model_, solution->line.layers, edits)) {
    double& alpha = solution->line.layers[layer].alpha;
    alpha = LoweredAlpha(alpha, scores);
  }
  return absl::OkStatus();
}

absl::Status ReferenceEditor::SolveLayers(absl::Span<const EditRows> edits,
                                          ReferenceSolution* solution) const {
  ReferenceLayerWalk walk(*model_, solution->line.layers, edits);
  double share = static_cast<double>(settings_.layers.size());
  for (const LayerIndex layer : settings_.layers) {
    KeySolver& solver = solution->line.solvers.at(layer);
    const at::Tensor keys = walk.Keys(layer);
    AMEND_ASSIGN_OR_RETURN(
        const at::Tensor increment,
        UpdateIncrement(&solver, keys, solution->target_values, walk.CurrentValues(), share));
    if (!at::isfinite(increment).all().item<bool>()) {
      return absl::AbortedError(
          absl::StrCat("the update of layer ", layer.value(), " is not finite"));
    }
    AMEND_RETURN_IF_ERROR(solver.Append(keys));
    ReferenceLayer& solved = solution->line.layers[layer];
    solved.update = (solved.update.to(at::kDouble) + increment).to(at::kFloat);
    // With the alpha from before this batch.
    walk.Validate(solved);
    share -= 1;
  }
  return absl::OkStatus();
}

}  // namespace amend
