#ifndef AMEND_SERVER_RECOVERY_H_
#define AMEND_SERVER_RECOVERY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/edit_engine.h"
#include "server/serving_model.h"
#include "storage/revision_store.h"

namespace amend {

// What a start found in the store.
struct RecoveryReport {
  Revision live;
  // Validated revisions that serve again, or could when they are undeleted; revision 0 not counted.
  int revisions = 0;
  // What does not serve and why, one line each: damaged revisions off the live line, what builds on
  // them, labels that stand on them.
  std::vector<std::string> skipped;
  // Durable batches that were not solved yet, in order of arrival.
  std::vector<LedgerEntry> pending;
};

// Rebuilds the serving model (still empty) from the store; the engine's line is left at revision 0.
// Damaged factors on the live line are an error that names the revision; elsewhere the revision is
// skipped and named. Not thread-safe; called before serving begins.
absl::StatusOr<RecoveryReport> RecoverServing(const RevisionStore& store, EditEngine& engine,
                                              ServingModel& serving);

}  // namespace amend

#endif  // AMEND_SERVER_RECOVERY_H_
