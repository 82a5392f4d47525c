#include "server/revision_validation.h"

#include <memory>
#include <utility>
#include <vector>

#include "core/base/status_macros.h"
#include "server/errors.h"
#include "server/label_mover.h"
#include "server/line_edits.h"
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
  const absl::StatusOr<LedgerEntry> batch = store.GetLedger(record->batch);
  if (!batch.ok()) return FromStore(batch.status());
  Validation validation;
  validation.edits = EditsOf(*batch);
  std::vector<TargetReport> targets;
  for (const EditVerdict& verdict : batch->verdicts) {
    if (!verdict.dropped) targets.push_back(verdict.target);
  }
  GateRequest request;
  request.before = (*before)->hooks;
  request.after = after->hooks;
  request.edits = validation.edits;
  request.targets = targets;
  // The sample that the revision's own gate had, but for the edits that share a key.
  request.retained = ChooseRetained(store, engine, request.before, validation.edits, {},
                                    static_cast<uint64_t>(command.revision.value()));
  request.thresholds = ThresholdsFromProto(command.thresholds, batch->thresholds);
  AMEND_ASSIGN_OR_RETURN(validation.gate, engine.Gate(request));
  return validation;
}

}  // namespace amend
