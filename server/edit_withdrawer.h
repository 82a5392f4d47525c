#ifndef AMEND_SERVER_EDIT_WITHDRAWER_H_
#define AMEND_SERVER_EDIT_WITHDRAWER_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/types.h"
#include "server/edit_engine.h"
#include "server/edit_observer.h"
#include "server/gate_request.h"
#include "server/revision_event_hub.h"
#include "server/serving_model.h"
#include "storage/records.h"
#include "storage/revision_store.h"

namespace amend {

struct WithdrawCommand {
  // The edits are on the line of this revision; absent: of where the label stands.
  std::optional<Revision> revision;
  // Moves to the new revision under kWhenValidated.
  std::string label;
  // Of the label. Absent: whatever it is.
  std::optional<std::string> etag;
  // At least one, each once.
  std::vector<EditId> edits;
  PromotionPolicy promotion = PromotionPolicy::kWhenValidated;
  // Only ask the gate.
  bool validate_only = false;
  std::string reason;
  // For the audit trail.
  std::string actor;
  // Who asks, for the revision; empty where nobody was asked.
  std::string principal;
};

struct EditsWithdrawn {
  // The new revision; its number is 0 where nothing was written.
  RevisionRecord record;
  // Where the label stands now.
  LabelRecord label;
};

// Makes revisions that are an earlier one less some edits: checks, the gate, one synced commit with
// an audit record, then the serving model and those who watch. Edits that were solved on top of a
// withdrawn one stay what they are; where that breaks them, the gate turns the revision down and
// names them (docs/decisions/0015). Not thread-safe; owned by the coordinator thread, between
// batches.
//
// What takes long, the candidate and its gate, goes to `run_aside`, and labels may move meanwhile
// (docs/decisions/0026). Where that takes the candidate's base away (the label that is to move was
// moved; the parent of a staged one does not serve any more) nothing is written and the command
// begins anew, at most `max_tries` times; the last time verbs wait.
class EditWithdrawer {
 public:
  struct Options {
    // What the gate asks of a candidate. Of the other edits all have to hold, whatever this says.
    GateThresholds thresholds;
    std::function<absl::Time()> clock;
    // Runs `task` where it may take long and returns when it is done. With `verbs_wait` no label
    // moves and no revision goes meanwhile.
    std::function<void(bool verbs_wait, std::function<void()> task)> run_aside;
    int max_tries = 4;
  };
  // All of them outlive this object.
  EditWithdrawer(RevisionStore* store, EditEngine* engine, ServingModel* serving,
                 RevisionEventHub* changes, EditObserver* observer, Options options);

  void SetThresholds(const GateThresholds& thresholds) { options_.thresholds = thresholds; }
  // A verdict of the gate against it is no error: the record is kRejected then.
  //
  // NOT_FOUND (LABEL_NOT_FOUND, REVISION_NOT_FOUND, EDIT_NOT_FOUND); FAILED_PRECONDITION
  // (an error of CheckServable, EDIT_NOT_ON_LINE, ALREADY_WITHDRAWN, and NOT_AT_LABEL for a
  // revision where the label that is to move does not stand); ABORTED (LIVE_CHANGED) for a stale
  // etag; errors of the store, see FromStore.
  absl::StatusOr<EditsWithdrawn> Withdraw(const WithdrawCommand& command);

 private:
  // One command on its way.
  struct Work;

  absl::Status FindParent(Work& work) const;
  // Whether what the candidate was made for is no longer there.
  bool BaseChangedUnder(const Work& work) const;
  absl::Status CheckEdits(const Work& work) const;
  absl::Status MakeCandidate(Work& work) const;
  absl::StatusOr<GateRequest> AskGate(const Work& work) const;
  absl::StatusOr<std::vector<WithdrawnEdit>> ReadWithdrawn(const Work& work) const;
  absl::StatusOr<std::vector<RetainedEdit>> ChooseOthers(const Work& work) const;
  absl::Status Commit(Work& work) const;
  void Publish(const Work& work) const;

  RevisionStore* const store_;
  EditEngine* const engine_;
  ServingModel* const serving_;
  RevisionEventHub* const changes_;
  EditObserver* const observer_;
  Options options_;
};

}  // namespace amend

#endif  // AMEND_SERVER_EDIT_WITHDRAWER_H_
