#include "server/revision_validation.h"

#include <memory>
#include <utility>
#include <vector>

#include "core/base/status_macros.h"
#include "server/errors.h"
#include "server/label_mover.h"
#include "server/proto_conversion.h"
#include "server/revision_errors.h"

namespace amend {

absl::StatusOr<Validation> ValidateAgain(const RevisionStore& store, const ServingModel& serving,
                                         EditEngine& engine, const ValidateCommand& command) {
  if (command.revision == kBaseRevision) {
    return UnfitRevision(command.revision, "UNEDITED_MODEL",
                         "is the unedited model: no batch made it");
  }
  AMEND_RETURN_IF_ERROR(CheckServable(store, serving, command.revision));
  AMEND_ASSIGN_OR_RETURN(const std::shared_ptr<const Snapshot> after,
                         serving.Resolve(command.revision));
  const absl::StatusOr<RevisionRecord> record = store.GetRevision(command.revision);
  if (!record.ok()) return FromStore(record.status());
  if (record->withdraws()) {
    return UnfitRevision(command.revision, "NO_BATCH",
                         "withdraws edits: it has no batch to be measured with");
  }
  const absl::StatusOr<std::shared_ptr<const Snapshot>> before = serving.Resident(record->parent);
  if (!before.ok()) {
    return UnfitRevision(record->parent, "NOT_RESIDENT",
                         "is not resident, so that nothing can be measured against it");
  }
  absl::StatusOr<LedgerEntry> batch = store.GetLedger(record->batch);
  if (!batch.ok()) return FromStore(batch.status());
  const GateThresholds thresholds = ThresholdsFromProto(command.thresholds, batch->thresholds);
  std::vector<TargetReport> targets;
  for (const EditVerdict& verdict : batch->verdicts) targets.push_back(verdict.target);
  Validation validation;
  AMEND_ASSIGN_OR_RETURN(validation.gate, engine.Gate((*before)->hooks, after->hooks, batch->edits,
                                                      targets, thresholds));
  validation.edits = std::move(batch->edits);
  return validation;
}

}  // namespace amend
