#ifndef AMEND_SERVER_COORDINATOR_H_
#define AMEND_SERVER_COORDINATOR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "amend/v1/edit.pb.h"
#include "server/batch_cancels.h"
#include "server/candidate_solver.h"
#include "server/durable_batch_queue.h"
#include "server/edit_engine.h"
#include "server/edit_event_hub.h"
#include "server/edit_observer.h"
#include "server/edit_withdrawer.h"
#include "server/label_mover.h"
#include "server/recovery.h"
#include "server/retention.h"
#include "server/revision_event_hub.h"
#include "server/revision_keeper.h"
#include "server/revision_validation.h"
#include "server/serving_model.h"
#include "server/task_executor.h"
#include "storage/revision_store.h"

namespace amend {

// The one writer: solves durable batches in order of arrival and moves labels. What is written and
// published goes through its own thread; what is computed meanwhile runs on a second one, the
// solver's. The public methods are thread-safe.
//
//  1. Persist, then publish: a revision, its verdict, the ledger state and the label are one synced
//  commit; only then generation can see
//     them, and only then listeners hear of it.
//  2. A batch that fails or is rejected leaves the serving state as it was; the next one builds on
//  the last validated revision.
//  3. Verbs do not wait for a batch that is being solved. When the label moves under a
//  PROMOTE_WHEN_VALIDATED batch, or what a staged batch builds on is deleted, the batch is solved
//  again on the right revision; after `max_solves` attempts verbs wait for it instead.
//  4. A store that cannot write stops edits, not the process: the commit is tried again until it
//  works, and verbs get UNAVAILABLE.
//  5. A batch that is cancelled becomes kFailed: at once where it waits, else between two steps,
//  also in the last attempt.
//  6. Stop leaves a batch that is being solved DURABLE: the next start solves it.
//  7. A validation and a withdrawal run between batches, and the retention policy's sweep too.
//  Verbs do not wait for either: a withdrawal whose label moves begins anew, like a batch.
class Coordinator : public DurableBatchQueue {
 public:
  struct Options {
    std::function<absl::Time()> clock = absl::Now;
    // Called first on the coordinator thread and on the solver's. May be null.
    std::function<void()> on_thread_start;
    std::function<void()> on_solver_thread_start;
    int max_solves = 4;
    // Between two tries of a write that the store turned down.
    absl::Duration store_retry_delay = absl::Seconds(1);
    // Verbs that may wait.
    int max_commands = 256;
    // What the gate asks of a revision that withdraws edits.
    GateThresholds withdrawal_thresholds;
    RetentionPolicy retention;
    // Between two sweeps; the first is at the start.
    absl::Duration sweep_interval = absl::Minutes(1);
    // Called on the coordinator thread after factors were purged. May be null.
    std::function<void()> on_purged;
    // What to do when the live revision is damaged; see RecoverServing. The store is frozen then.
    bool serve_intact_ancestor = false;
  };
  template <typename Result>
  using Callback = std::function<void(absl::StatusOr<Result>)>;
  using LabelCallback = Callback<LabelMoved>;

  // All of them outlive this object.
  Coordinator(RevisionStore* store, EditEngine* engine, ServingModel* serving, EditEventHub* hub,
              RevisionEventHub* changes, EditObserver* observer, Options options);
  // Stops.
  ~Coordinator() override;
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  // Rebuilds the serving state (see RecoverServing) and queues the batches that were not solved.
  // Once, before Start and before anything is enqueued. `pending` of the report has moved to the
  // queue.
  absl::StatusOr<RecoveryReport> Recover();
  void Start();
  // Ends the thread between two steps; verbs that wait are answered UNAVAILABLE (reason DRAINING).
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  void Enqueue(LedgerEntry entry) override ABSL_LOCKS_EXCLUDED(mutex_);
  void Cancel(CancelCommand command, CancelCallback done) override ABSL_LOCKS_EXCLUDED(mutex_);
  int depth() const override ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t bytes() const override ABSL_LOCKS_EXCLUDED(mutex_);
  // The lowest offset of the session that is queued or being solved.
  std::optional<int64_t> FirstPendingOffset(absl::string_view session) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether the last write failed for a reason that is not the batch's.
  bool store_read_only() const ABSL_LOCKS_EXCLUDED(mutex_);

  // What is asked of withdrawals and which revisions stay, from the next one on. UNAVAILABLE
  // (DRAINING) or RESOURCE_EXHAUSTED (QUEUE_FULL): nothing changes then.
  absl::Status SetPolicies(const GateThresholds& withdrawal_thresholds,
                           const RetentionPolicy& retention) ABSL_LOCKS_EXCLUDED(mutex_);

  // Never block; `done` is called once: on the coordinator thread, or on this one when the verb
  // cannot be queued.
  void Promote(PromoteCommand command, LabelCallback done) ABSL_LOCKS_EXCLUDED(mutex_);
  void Rollback(RollbackCommand command, LabelCallback done) ABSL_LOCKS_EXCLUDED(mutex_);
  void SetLabel(SetLabelCommand command, LabelCallback done) ABSL_LOCKS_EXCLUDED(mutex_);
  void DeleteLabel(DeleteLabelCommand command, Callback<LabelRecord> done)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Mark(MarkCommand command, Callback<RevisionRecord> done) ABSL_LOCKS_EXCLUDED(mutex_);
  void Purge(PurgeCommand command, Callback<Purged> done) ABSL_LOCKS_EXCLUDED(mutex_);
  // These wait for the batch that is being solved.
  void Withdraw(WithdrawCommand command, Callback<EditsWithdrawn> done) ABSL_LOCKS_EXCLUDED(mutex_);
  void Validate(ValidateCommand command, Callback<Validation> done) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Command {
    std::function<void()> run;
    std::function<void(const absl::Status&)> refuse;
  };
  // When a verb may run.
  enum class Turn { kAnyTime, kBetweenBatches };
  // How an attempt to bring a batch to its end went.
  enum class Attempt { kFinished, kParentChanged, kStoreTrouble, kStopped };
  // One batch on its way.
  struct Work;

  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !commands_.empty() || !jobs_.empty() || !batches_.empty() ||
           cancels_.size() > 0;
  }
  bool HasCommand() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !commands_.empty();
  }
  // `done` gets what `run` returns on the coordinator thread, or why it does not run.
  template <typename Result>
  void Queue(Turn turn, std::function<absl::StatusOr<Result>()> run, Callback<Result> done)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void QueueCommand(Turn turn, Command command) ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes the command only where it says OK.
  absl::Status TryQueue(Turn turn, Command& command) ABSL_LOCKS_EXCLUDED(mutex_);
  void RunCommands() ABSL_LOCKS_EXCLUDED(mutex_);
  // Runs `task` on the solver's thread and, until it is done, verbs and cancels on this one; no
  // verbs where they have to wait.
  void RunAside(bool verbs_wait, std::function<void()> task) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of every batch but the one at work.
  void RunCancels() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<LedgerEntry> CancelWaiting(const CancelCommand& command)
      ABSL_LOCKS_EXCLUDED(mutex_);
  bool stopping() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Runs verbs meanwhile. False when it is time to stop.
  bool WaitForStore() ABSL_LOCKS_EXCLUDED(mutex_);
  void SetReadOnly(bool read_only) ABSL_LOCKS_EXCLUDED(mutex_);
  void Finish(const BatchKey& key) ABSL_LOCKS_EXCLUDED(mutex_);
  // Tells those who wanted to cancel the batch what became of it.
  void AnswerCancels(const BatchKey& key, const absl::StatusOr<LedgerEntry>& outcome);
  void ReportQueue() ABSL_LOCKS_EXCLUDED(mutex_);

  // What the retention policy asks for, once it is time.
  void Sweep();
  void ReportPurged(const absl::StatusOr<Purged>& purged) const;

  // False when the batch has to stay durable because the coordinator stops.
  bool Process(const LedgerEntry& entry);
  Attempt TryBatch(const LedgerEntry& entry, bool last_try);
  absl::Status FindParent(Work& work);
  absl::Status Solve(Work& work);
  // Whether what the batch was solved on is no longer what it has to build on.
  bool ParentChangedUnder(const Work& work) const;
  Attempt AfterError(Work& work, const absl::Status& status);
  Attempt Conclude(Work& work);
  Attempt Fail(const Work& work, const absl::Status& status);
  // Tries until the store takes the step or says what is wrong with it. CANCELLED when it is time
  // to stop.
  absl::Status Commit(const StoreStep& step);
  void PublishCandidate(const Work& work, const RevisionRecord& record,
                        const LedgerEntry& finished);

  RevisionStore* const store_;
  EditEngine* const engine_;
  ServingModel* const serving_;
  EditEventHub* const hub_;
  RevisionEventHub* const changes_;
  EditObserver* const observer_;
  const Options options_;
  LabelMover label_mover_;
  RevisionKeeper keeper_;
  absl::Time next_sweep_ = absl::InfinitePast();
  CandidateSolver solver_;
  EditWithdrawer withdrawer_;

  mutable absl::Mutex mutex_;
  std::deque<Command> commands_ ABSL_GUARDED_BY(mutex_);
  // Verbs that run between batches only.
  std::deque<Command> jobs_ ABSL_GUARDED_BY(mutex_);
  // In order of arrival; the first one may be being solved.
  std::deque<std::shared_ptr<const LedgerEntry>> batches_ ABSL_GUARDED_BY(mutex_);
  // Of the text in their edits.
  int64_t batch_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool read_only_ ABSL_GUARDED_BY(mutex_) = false;
  BatchCancels cancels_;
  // The batch that Process is about.
  std::optional<BatchKey> at_work_ ABSL_GUARDED_BY(mutex_);
  // Whether the solver's thread is busy.
  bool aside_ ABSL_GUARDED_BY(mutex_) = false;
  TaskExecutor solver_thread_;
  std::thread thread_;
};

}  // namespace amend

#endif  // AMEND_SERVER_COORDINATOR_H_
