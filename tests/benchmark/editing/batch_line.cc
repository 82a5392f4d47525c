#include "tests/benchmark/editing/batch_line.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/status_macros.h"
#include "core/editing/batch_editor.h"
#include "core/editing/hook_stack.h"
#include "core/editing/reference_editor.h"
#include "core/editing/reference_scope.h"

namespace amend {
namespace {

std::string LayerName(LayerIndex layer, absl::string_view what) {
  return absl::StrCat("layer", layer.value(), ".", what);
}

// [rows, cols], float32; `matrix` must outlive it.
at::Tensor View(const Matrix& matrix) {
  return at::from_blob(const_cast<float*>(matrix.values.data()), {matrix.rows, matrix.cols},
                       at::TensorOptions().dtype(at::kFloat));
}

class LeverageLine : public BatchLine {
 public:
  LeverageLine(std::shared_ptr<const HookStack> base, std::unique_ptr<const BatchEditor> editor)
      : editor_(std::move(editor)), line_(editor_->NewLine()), hooks_(std::move(base)) {}

  absl::Status Add(absl::Span<const Edit> edits) override {
    const absl::Time start = absl::Now();
    BatchEditor::Callbacks callbacks;
    callbacks.progress = [&](SolvePhase phase, int, int) {
      if (phase == SolvePhase::kTargetValues)
        target_seconds_ = absl::ToDoubleSeconds(absl::Now() - start);
    };
    AMEND_ASSIGN_OR_RETURN(BatchSolution solution,
                           editor_->Solve(*line_, hooks_, edits, callbacks));
    AMEND_RETURN_IF_ERROR(line_->Append(solution.factors));
    batches_.push_back(std::move(solution.factors));
    AMEND_ASSIGN_OR_RETURN(
        hooks_, HookStack::Extend(hooks_, Revision(static_cast<int64_t>(batches_.size())),
                                  batches_.back()));
    return absl::OkStatus();
  }

  std::optional<double> target_seconds() const override { return target_seconds_; }
  const DownProjectionHook& hooks() const override { return *hooks_; }
  ForwardRows rows() const override { return ForwardRows::kPacked; }

  std::map<std::string, at::Tensor> Results() const override {
    std::map<std::string, at::Tensor> updates;
    for (const RevisionFactors& batch : batches_) {
      for (const LayerFactors& layer : batch.layers) {
        at::Tensor& update = updates[LayerName(layer.layer, "update")];
        const at::Tensor added = at::matmul(View(layer.u).t(), View(layer.v));
        update = update.defined() ? update + added : added;
      }
    }
    return updates;
  }

 private:
  const std::unique_ptr<const BatchEditor> editor_;
  const std::unique_ptr<EditLine> line_;
  std::shared_ptr<const HookStack> hooks_;
  std::vector<RevisionFactors> batches_;
  double target_seconds_ = 0;
};

class ReferenceBatchLine : public BatchLine {
 public:
  explicit ReferenceBatchLine(std::unique_ptr<const ReferenceEditor> editor)
      : editor_(std::move(editor)) {
    last_.line = editor_->NewLine();
    hooks_.emplace(last_.line.layers);
  }

  absl::Status Add(absl::Span<const Edit> edits) override {
    AMEND_ASSIGN_OR_RETURN(last_, editor_->Solve(last_.line, edits));
    hooks_.emplace(last_.line.layers);
    return absl::OkStatus();
  }

  const DownProjectionHook& hooks() const override { return *hooks_; }
  ForwardRows rows() const override { return ForwardRows::kWholeRow; }

  std::map<std::string, at::Tensor> Results() const override {
    std::map<std::string, at::Tensor> results;
    results["target_z"] = last_.target_values;
    at::Tensor loss = at::zeros({static_cast<int64_t>(last_.targets.size())});
    for (size_t i = 0; i < last_.targets.size(); ++i)
      loss[static_cast<int64_t>(i)] = last_.targets[i].loss;
    results["loss"] = loss;
    for (const auto& [layer, of_layer] : last_.line.layers) {
      results[LayerName(layer, "update")] = of_layer.update;
      results[LayerName(layer, "alpha")] = at::full({}, of_layer.alpha, at::kFloat);
    }
    return results;
  }

 private:
  const std::unique_ptr<const ReferenceEditor> editor_;
  ReferenceSolution last_;
  std::optional<ReferenceHooks> hooks_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BatchLine>> MakeBatchLine(std::shared_ptr<const CausalLm> model,
                                                         std::shared_ptr<const Tokenizer> tokenizer,
                                                         const EditSettings& settings,
                                                         KeyCovariance covariance) {
  if (settings.scope == EditScope::kReference) {
    AMEND_ASSIGN_OR_RETURN(
        auto editor, ReferenceEditor::Create(model, tokenizer, settings, std::move(covariance)));
    return std::make_unique<ReferenceBatchLine>(std::move(editor));
  }
  AMEND_ASSIGN_OR_RETURN(auto editor,
                         BatchEditor::Create(model, tokenizer, settings, std::move(covariance)));
  return std::make_unique<LeverageLine>(HookStack::Empty(*model, settings.beta), std::move(editor));
}

}  // namespace amend
