#ifndef AMEND_SERVER_REVISION_VALIDATION_H_
#define AMEND_SERVER_REVISION_VALIDATION_H_

#include <vector>

#include "absl/status/statusor.h"
#include "amend/v1/edit.pb.h"
#include "core/base/types.h"
#include "server/edit_engine.h"
#include "server/gate_verdict.h"
#include "server/serving_model.h"
#include "storage/records.h"
#include "storage/revision_store.h"

namespace amend {

struct ValidateCommand {
  Revision revision;
  // Unset fields: those that the revision's batch was judged by.
  v1::GateThresholds thresholds;
};

// What the gate says now, and the batch that it says it of.
struct Validation {
  GateResult gate;
  std::vector<Edit> edits;
};

// Runs the gate once more: the revision against its parent, with the edits of its batch. Changes
// nothing. An error of CheckServable; FAILED_PRECONDITION: UNEDITED_MODEL for revision 0, NO_BATCH
// for one that withdraws edits, NOT_RESIDENT when the parent is not. Takes as long as the gate did;
// called by the coordinator, which owns the engine.
absl::StatusOr<Validation> ValidateAgain(const RevisionStore& store, const ServingModel& serving,
                                         EditEngine& engine, const ValidateCommand& command);

}  // namespace amend

#endif  // AMEND_SERVER_REVISION_VALIDATION_H_
