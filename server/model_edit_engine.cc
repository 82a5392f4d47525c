#include "server/model_edit_engine.h"

#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace amend {

ModelEditEngine::ModelEditEngine(std::shared_ptr<const CausalLm> model,
                                 std::unique_ptr<BatchEditor> editor,
                                 std::unique_ptr<ValidationGate> gate)
    : model_(std::move(model)),
      editor_(std::move(editor)),
      gate_(std::move(gate)),
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
    const RevisionFactors& factors, int64_t line_edits) {
  return HookStack::Extend(parent, revision, factors, line_edits);
}

absl::StatusOr<std::shared_ptr<const HookStack>> ModelEditEngine::Without(
    const std::shared_ptr<const HookStack>& parent, absl::Span<const EditId> edits) {
  return HookStack::Without(parent, edits);
}

std::vector<EditId> ModelEditEngine::SampleEdits(const std::shared_ptr<const HookStack>& hooks,
                                                 int count, uint64_t seed) {
  // Floyd's algorithm: as many draws as there are edits wanted, however long the line. No
  // distribution of the standard library, so that a seed means the same everywhere.
  std::mt19937_64 random(seed);
  const int64_t edits = hooks->edit_count();
  std::set<int64_t> chosen;
  for (int64_t last = std::max<int64_t>(edits - count, 0); last < edits; ++last) {
    const auto place = static_cast<int64_t>(random() % static_cast<uint64_t>(last + 1));
    if (!chosen.insert(place).second) chosen.insert(last);
  }
  std::vector<EditId> sample;
  for (const int64_t place : chosen) sample.push_back(hooks->EditAt(place));
  return sample;
}

std::vector<EditId> ModelEditEngine::FiringAt(const std::shared_ptr<const HookStack>& hooks,
                                              const RevisionFactors& factors) {
  return hooks->FiringAt(factors);
}

absl::StatusOr<GateResult> ModelEditEngine::Gate(const GateRequest& request) {
  return gate_->Judge(request);
}

std::vector<LayerNorm> ModelEditEngine::UpdateNorms(const std::shared_ptr<const HookStack>& hooks) {
  return hooks->UpdateNorms(*model_);
}

}  // namespace amend
