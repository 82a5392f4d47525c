#ifndef AMEND_SERVER_LABEL_MOVER_H_
#define AMEND_SERVER_LABEL_MOVER_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/types.h"
#include "server/edit_observer.h"
#include "server/serving_model.h"
#include "storage/records.h"
#include "storage/revision_store.h"

namespace amend {

struct PromoteCommand {
  std::string label;
  Revision revision;
  // Absent: whatever it is.
  std::optional<std::string> etag;
  std::string reason;
  std::string actor;
};

struct RollbackCommand {
  std::string label;
  // Absent: the parent of where the label stands.
  std::optional<Revision> target;
  std::optional<std::string> etag;
  std::string reason;
  std::string actor;
};

// Where a label stands now, and where it stood before.
struct LabelMoved {
  LabelRecord label;
  Revision previous;
};

// The etag of a label as clients see it: its generation.
std::string EtagOf(const LabelRecord& label);

// Moves labels: checks, one synced commit with an audit record, then the serving model. Not
// thread-safe; owned by the coordinator thread.
class LabelMover {
 public:
  // All of them outlive this object.
  LabelMover(RevisionStore* store, ServingModel* serving, EditObserver* observer,
             std::function<absl::Time()> clock);

  // NOT_FOUND (REVISION_NOT_FOUND); FAILED_PRECONDITION (NOT_VALIDATED, or NOT_RESIDENT for one
  // whose factors were damaged at start); ABORTED (LIVE_CHANGED) with metadata expected and actual
  // for a stale etag. A label that does not exist is made. A promotion to where the label stands
  // changes nothing.
  absl::StatusOr<LabelMoved> Promote(const PromoteCommand& command);
  // Like Promote, but the label exists (else NOT_FOUND) and the target is an earlier revision than
  // where it stands (else FAILED_PRECONDITION: SAME_REVISION, NOT_EARLIER, NO_PREVIOUS_REVISION).
  absl::StatusOr<LabelMoved> Rollback(const RollbackCommand& command);

 private:
  // Which way a move goes: for the audit trail and the numbers.
  enum class Verb { kPromote, kRollback };

  absl::StatusOr<LabelMoved> CheckedPromote(const PromoteCommand& command);
  absl::StatusOr<LabelMoved> CheckedRollback(const RollbackCommand& command);
  absl::Status CheckServable(Revision revision) const;
  // Tells the norms of what is live now: those of `to`, recorded when it was made.
  void ReportNorms(Revision from, Revision to) const;
  absl::StatusOr<LabelMoved> Move(Verb verb, const LabelRecord& from, Revision to,
                                  const std::string& reason, const std::string& actor);

  RevisionStore* const store_;
  ServingModel* const serving_;
  EditObserver* const observer_;
  const std::function<absl::Time()> clock_;
};

}  // namespace amend

#endif  // AMEND_SERVER_LABEL_MOVER_H_
