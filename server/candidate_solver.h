#ifndef AMEND_SERVER_CANDIDATE_SOLVER_H_
#define AMEND_SERVER_CANDIDATE_SOLVER_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/types.h"
#include "core/editing/batch_editor.h"
#include "core/editing/hook_stack.h"
#include "server/edit_engine.h"
#include "server/edit_event_hub.h"
#include "server/edit_observer.h"
#include "server/gate_verdict.h"
#include "storage/records.h"
#include "storage/revision_store.h"

namespace amend {

// What a batch would become. Nothing of it is durable or serves.
struct Candidate {
  // Of the edits that were not dropped, in order.
  BatchSolution solution;
  std::shared_ptr<const HookStack> hooks;
  // One verdict for each edit of the batch, also for those that were dropped.
  GateResult gate;
  int edit_count = 0;
};

// Solves a batch on its parent and has the gate judge it, telling the hub and the observer how far
// it is. Under FailurePolicy::kDropFailing the edits that fail are left out and the rest is solved
// again, kMaxDrops times at most; what is left then is judged like any batch. Where nothing is left
// the gate's verdict is that nothing was accepted. Not thread-safe; the coordinator runs it
// on its solver thread.
class CandidateSolver {
 public:
  static constexpr int kMaxDrops = 3;

  // All of them outlive this object.
  CandidateSolver(const RevisionStore* store, EditEngine* engine, EditEventHub* hub,
                  EditObserver* observer, std::function<absl::Time()> clock);

  // `revision` is what the candidate will be called. `stop` is asked between the steps of the
  // solver and before the gate: true makes this CANCELLED. An error of the engine never looks like
  // trouble of the store.
  absl::StatusOr<Candidate> Solve(const LedgerEntry& entry, Revision revision,
                                  const std::shared_ptr<const HookStack>& parent,
                                  const std::function<bool()>& stop);

 private:
  // One batch on its way.
  struct Trial;

  absl::Status SolveKept(Trial& trial);
  absl::Status JudgeKept(Trial& trial);
  // Leaves out what failed. False when the candidate stays as it is.
  static bool DropFailing(Trial& trial);

  const RevisionStore* const store_;
  EditEngine* const engine_;
  EditEventHub* const hub_;
  EditObserver* const observer_;
  const std::function<absl::Time()> clock_;
};

// Tells each number of a verdict, and which checks turned the candidate down.
void ReportGate(const GateResult& gate, EditObserver* observer);

}  // namespace amend

#endif  // AMEND_SERVER_CANDIDATE_SOLVER_H_
