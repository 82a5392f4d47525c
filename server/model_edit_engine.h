#ifndef AMEND_SERVER_MODEL_EDIT_ENGINE_H_
#define AMEND_SERVER_MODEL_EDIT_ENGINE_H_

#include <memory>
#include <vector>

#include "core/editing/batch_editor.h"
#include "core/model/causal_lm.h"
#include "server/edit_engine.h"
#include "server/validation_gate.h"

namespace amend {

// The engine over a real model. Not thread-safe; owned by the coordinator.
class ModelEditEngine : public EditEngine {
 public:
  // `editor` and `gate` are over the same model and tokenizer.
  ModelEditEngine(std::shared_ptr<const CausalLm> model, std::unique_ptr<BatchEditor> editor,
                  std::unique_ptr<ValidationGate> gate);
  ~ModelEditEngine() override;

  Revision line_head() const override { return line_head_; }
  void ResetLine() override;
  absl::Status AppendToLine(Revision revision, const RevisionFactors& factors) override;
  absl::StatusOr<BatchSolution> Solve(const std::shared_ptr<const HookStack>& parent,
                                      Revision candidate, absl::Span<const Edit> edits,
                                      const BatchEditor::Callbacks& callbacks) override;
  absl::StatusOr<std::shared_ptr<const HookStack>> Extend(
      const std::shared_ptr<const HookStack>& parent, Revision revision,
      const RevisionFactors& factors, int64_t line_edits) override;
  absl::StatusOr<std::shared_ptr<const HookStack>> Without(
      const std::shared_ptr<const HookStack>& parent, absl::Span<const EditId> edits) override;
  std::vector<EditId> SampleEdits(const std::shared_ptr<const HookStack>& hooks, int count,
                                  uint64_t seed) override;
  std::vector<EditId> FiringAt(const std::shared_ptr<const HookStack>& hooks,
                               const RevisionFactors& factors) override;
  absl::StatusOr<GateResult> Gate(const GateRequest& request) override;
  std::vector<LayerNorm> UpdateNorms(const std::shared_ptr<const HookStack>& hooks) override;

 private:
  const std::shared_ptr<const CausalLm> model_;
  const std::unique_ptr<BatchEditor> editor_;
  const std::unique_ptr<ValidationGate> gate_;
  std::unique_ptr<EditLine> line_;
  Revision line_head_;
};

}  // namespace amend

#endif  // AMEND_SERVER_MODEL_EDIT_ENGINE_H_
