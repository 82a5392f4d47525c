#ifndef AMEND_SERVER_EDIT_ENGINE_H_
#define AMEND_SERVER_EDIT_ENGINE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/batch_editor.h"
#include "core/editing/edit.h"
#include "core/editing/factors.h"
#include "core/editing/hook_stack.h"
#include "server/gate_request.h"
#include "server/gate_verdict.h"

namespace amend {

// The numerics that the coordinator needs. Not thread-safe; owned by the coordinator, which uses
// it on one thread at a time (before it starts, by whoever recovers).
//
// Holds the state that consecutive batches of one line share (the sum of their keys). `line_head`
// is the revision up to which that state goes; it begins at revision 0.
class EditEngine {
 public:
  virtual ~EditEngine() = default;

  virtual Revision line_head() const = 0;
  // Back to revision 0.
  virtual void ResetLine() = 0;
  // Goes on to `revision`, whose parent is line_head() and whose factors are given. After an error
  // the line is reset.
  virtual absl::Status AppendToLine(Revision revision, const RevisionFactors& factors) = 0;

  // Solves a batch on top of line_head(), whose hooks are `parent`. Changes nothing; see
  // BatchEditor::Solve for the errors.
  virtual absl::StatusOr<BatchSolution> Solve(const std::shared_ptr<const HookStack>& parent,
                                              Revision candidate, absl::Span<const Edit> edits,
                                              const BatchEditor::Callbacks& callbacks) = 0;
  // `parent` plus what `revision` brought, on a line that will have `line_edits`, 0 for who knows;
  // see HookStack::Extend.
  virtual absl::StatusOr<std::shared_ptr<const HookStack>> Extend(
      const std::shared_ptr<const HookStack>& parent, Revision revision,
      const RevisionFactors& factors, int64_t line_edits) = 0;
  // `parent` less `edits`; see HookStack::Without. The line stays what it is.
  virtual absl::StatusOr<std::shared_ptr<const HookStack>> Without(
      const std::shared_ptr<const HookStack>& parent, absl::Span<const EditId> edits) = 0;
  // Up to `count` edits of the line whose hooks are given, all of them where there are no more. The
  // same seed gives the same ones.
  virtual std::vector<EditId> SampleEdits(const std::shared_ptr<const HookStack>& hooks, int count,
                                          uint64_t seed) = 0;
  // The edits of the line whose hooks are given that fire at one of the keys in `factors`.
  virtual std::vector<EditId> FiringAt(const std::shared_ptr<const HookStack>& hooks,
                                       const RevisionFactors& factors) = 0;
  // Measures a candidate and judges it.
  virtual absl::StatusOr<GateResult> Gate(const GateRequest& request) = 0;
  // Per edited layer, for the record of a revision.
  virtual std::vector<LayerNorm> UpdateNorms(const std::shared_ptr<const HookStack>& hooks) = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_EDIT_ENGINE_H_
