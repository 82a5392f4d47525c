#ifndef AMEND_SERVER_RECOVERY_H_
#define AMEND_SERVER_RECOVERY_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/edit_engine.h"
#include "server/serving_model.h"
#include "storage/revision_store.h"

namespace amend {

// What a start found in the store.
struct RecoveryReport {
  // Where the label "live" stands.
  Revision live;
  // What serves as "live": the same, or its newest intact ancestor.
  Revision served;
  // Why it is an ancestor: names the damaged revision. OK otherwise.
  absl::Status damage;
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
// skipped and named. With `serve_intact_ancestor` damage on the live line is reported, and what
// serves as "live" is the newest revision below it; where a record is damaged, nobody knows what
// lies below it but revision 0. Not thread-safe; called before serving begins.
absl::StatusOr<RecoveryReport> RecoverServing(const RevisionStore& store, EditEngine& engine,
                                              ServingModel& serving,
                                              bool serve_intact_ancestor = false);

}  // namespace amend

#endif  // AMEND_SERVER_RECOVERY_H_
