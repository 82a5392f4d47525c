#ifndef AMEND_SERVER_LABEL_MOVER_H_
#define AMEND_SERVER_LABEL_MOVER_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/types.h"
#include "server/edit_observer.h"
#include "server/revision_event_hub.h"
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

struct SetLabelCommand {
  // Not "live".
  std::string label;
  Revision revision;
  // Absent: whatever it is. "0": there is no such label yet.
  std::optional<std::string> etag;
  std::string reason;
  std::string actor;
};

struct DeleteLabelCommand {
  // Not "live".
  std::string label;
  std::optional<std::string> etag;
  std::string reason;
  std::string actor;
};

// Where a label stands now, and where it stood before; revision 0 for a new one.
struct LabelMoved {
  LabelRecord label;
  Revision previous;
  bool is_new = false;
};

// NOT_FOUND (LABEL_NOT_FOUND), or what FromStore makes of the store's error.
absl::StatusOr<LabelRecord> FindLabel(const RevisionStore& store, const std::string& name);

// Whether generation may use the revision: NOT_FOUND (REVISION_NOT_FOUND, REVISION_PURGED);
// FAILED_PRECONDITION (NOT_VALIDATED, REVISION_DELETED, or NOT_RESIDENT for one whose factors were
// damaged at start).
absl::Status CheckServable(const RevisionStore& store, const ServingModel& serving,
                           Revision revision);

// ABORTED (LIVE_CHANGED), with metadata expected and actual, where `expected` is given and stale.
absl::Status CheckEtag(const LabelRecord& label, const std::optional<std::string>& expected);
// Tells the norms of what is live now: those of `to`, recorded when it was made.
void ReportNorms(const RevisionStore& store, Revision from, Revision to, EditObserver* observer);

// Moves labels: checks, one synced commit with an audit record, then the serving model, then those
// who watch. Not thread-safe; owned by the coordinator thread.
class LabelMover {
 public:
  // There may be so many labels.
  static constexpr int kMaxLabels = 256;

  // All of them outlive this object.
  LabelMover(RevisionStore* store, ServingModel* serving, RevisionEventHub* changes,
             EditObserver* observer, std::function<absl::Time()> clock);

  // An error of CheckServable; ABORTED (LIVE_CHANGED) with metadata expected and actual for a stale
  // etag; RESOURCE_EXHAUSTED (TOO_MANY_LABELS). A label that does not exist is made. A promotion to
  // where the label stands changes nothing.
  absl::StatusOr<LabelMoved> Promote(const PromoteCommand& command);
  // Like Promote, but the label exists (else NOT_FOUND) and the target is an earlier revision than
  // where it stands (else FAILED_PRECONDITION: SAME_REVISION, NOT_EARLIER, NO_PREVIOUS_REVISION).
  absl::StatusOr<LabelMoved> Rollback(const RollbackCommand& command);
  // Like Promote, forward or backward.
  absl::StatusOr<LabelMoved> Set(const SetLabelCommand& command);
  // The label as it was. NOT_FOUND (LABEL_NOT_FOUND); ABORTED (LIVE_CHANGED) for a stale etag.
  absl::StatusOr<LabelRecord> Delete(const DeleteLabelCommand& command);

 private:
  // Why a label moves: for the audit trail and the numbers.
  enum class Verb { kPromote, kRollback, kSet };

  static std::string NameOf(Verb verb);

  absl::StatusOr<LabelMoved> CheckedRollback(const RollbackCommand& command);
  // Promote and Set: to `to`, unless it stands there.
  absl::StatusOr<LabelMoved> MoveTo(Verb verb, const std::string& label, Revision to,
                                    const std::optional<std::string>& etag,
                                    const std::string& reason, const std::string& actor);
  absl::StatusOr<LabelMoved> Move(Verb verb, const LabelRecord& from, bool is_new, Revision to,
                                  const std::string& reason, const std::string& actor);

  RevisionStore* const store_;
  ServingModel* const serving_;
  RevisionEventHub* const changes_;
  EditObserver* const observer_;
  const std::function<absl::Time()> clock_;
};

}  // namespace amend

#endif  // AMEND_SERVER_LABEL_MOVER_H_
