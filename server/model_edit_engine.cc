#include "server/model_edit_engine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/validation_gate.h"

namespace amend {

ModelEditEngine::ModelEditEngine(std::shared_ptr<const CausalLm> model,
                                 std::shared_ptr<const Tokenizer> tokenizer,
                                 std::unique_ptr<BatchEditor> editor, bool enforce_gate)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      editor_(std::move(editor)),
      enforce_gate_(enforce_gate),
      line_(editor_->NewLine()) {}

ModelEditEngine::~ModelEditEngine() = default;

void ModelEditEngine::ResetLine() {
  line_ = editor_->NewLine();
  line_head_ = kBaseRevision;
}

absl::Status ModelEditEngine::AppendToLine(Revision revision, const RevisionFactors& factors) {
  const absl::Status status = line_->Append(factors);
  if (status.ok()) {
    line_head_ = revision;
    return status;
  }
  // Some layers may have taken their keys already.
  ResetLine();
  return absl::Status(status.code(),
                      absl::StrCat("keys of revision ", revision.value(), ": ", status.message()));
}

absl::StatusOr<BatchSolution> ModelEditEngine::Solve(const std::shared_ptr<const HookStack>& parent,
                                                     Revision /*candidate*/,
                                                     absl::Span<const Edit> edits,
                                                     const BatchEditor::Callbacks& callbacks) {
  return editor_->Solve(*line_, parent, edits, callbacks);
}

absl::StatusOr<std::shared_ptr<const HookStack>> ModelEditEngine::Extend(
    const std::shared_ptr<const HookStack>& parent, Revision revision,
    const RevisionFactors& factors) {
  return HookStack::Extend(parent, revision, factors);
}

absl::StatusOr<std::shared_ptr<const HookStack>> ModelEditEngine::Without(
    const std::shared_ptr<const HookStack>& parent, absl::Span<const EditId> edits) {
  return HookStack::Without(parent, edits);
}

absl::StatusOr<GateResult> ModelEditEngine::Gate(const std::shared_ptr<const HookStack>& before,
                                                 const std::shared_ptr<const HookStack>& after,
                                                 absl::Span<const Edit> edits,
                                                 absl::Span<const TargetReport> targets,
                                                 const GateThresholds& thresholds) {
  return RunGate(*model_, *tokenizer_, *before, *after, edits, targets, thresholds, enforce_gate_);
}

std::vector<LayerNorm> ModelEditEngine::UpdateNorms(const std::shared_ptr<const HookStack>& hooks) {
  return hooks->UpdateNorms(*model_);
}

}  // namespace amend
