#ifndef AMEND_SERVER_GATE_REQUEST_H_
#define AMEND_SERVER_GATE_REQUEST_H_

#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/edit.h"
#include "core/editing/hook_stack.h"
#include "storage/records.h"

namespace amend {

// An edit of the line that is tested again: whether it still holds.
struct RetainedEdit {
  EditId id;
  Edit edit;
};

// An edit that the candidate leaves out: whether it is gone.
struct WithdrawnEdit {
  EditId id;
  Edit edit;
  // What the revision that brought it was solved on, less what is withdrawn of that too. Null where
  // it does not serve any more.
  std::shared_ptr<const HookStack> preceding;
};

// What the gate is asked. The spans live until it has answered.
struct GateRequest {
  // The parent, and the candidate.
  std::shared_ptr<const HookStack> before;
  std::shared_ptr<const HookStack> after;
  // The new edits, and for each how its target value was found. May be empty, as for a candidate
  // that brings none.
  absl::Span<const Edit> edits;
  absl::Span<const TargetReport> targets;
  // Of the parent's line.
  std::vector<RetainedEdit> retained;
  // Of a candidate that withdraws edits; `unedited` is revision 0 then.
  std::vector<WithdrawnEdit> withdrawn;
  std::shared_ptr<const HookStack> unedited;
  GateThresholds thresholds;
};

}  // namespace amend

#endif  // AMEND_SERVER_GATE_REQUEST_H_
