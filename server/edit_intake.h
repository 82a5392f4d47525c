#ifndef AMEND_SERVER_EDIT_INTAKE_H_
#define AMEND_SERVER_EDIT_INTAKE_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/batch_traces.h"
#include "server/durable_batch_queue.h"
#include "server/edit_event_hub.h"
#include "server/edit_observer.h"
#include "server/request_validation.h"
#include "storage/records.h"
#include "storage/revision_store.h"

namespace amend {

// One batch as a client sent it. Session, offset, promotion and thresholds are validated; the edits
// are not.
struct BatchSubmission {
  BatchKey key;
  std::vector<Edit> edits;
  PromotionPolicy promotion = PromotionPolicy::kWhenValidated;
  FailurePolicy failure = FailurePolicy::kAllOrNothing;
  GateThresholds thresholds;
  // The principal that sends it; empty where nobody is asked. A batch that is in the ledger keeps
  // its first sender.
  std::string actor;
  // Of the RPC that brings it; for the log.
  std::string trace_id;
  // Whether a malformed batch uses up its offset (a stream goes on behind it) or is turned down and
  // leaves no trace.
  bool record_malformed = true;
  // Hears of the batch, first what intake makes of it, to its last status (see IsLast).
  BatchListener listener;
};

// Takes batches into the ledger, one after the other, on its own thread. Thread-safe.
//
//  - A new offset: checked, written to the ledger (synced), handed to the queue: ACCEPTED, DURABLE.
//  Malformed edits: FAILED, see above.
//  - A known offset with the same edits: the recorded state, `replayed`, and what comes after it;
//  nothing is done twice.
//  - A known offset with other edits: ALREADY_EXISTS, reason OFFSET_CONFLICT. A gap: OUT_OF_RANGE,
//  reason OFFSET_GAP with next_offset.
//    A full queue: RESOURCE_EXHAUSTED, reason QUEUE_FULL. A store that cannot write: UNAVAILABLE,
//    reason STORE_READ_ONLY. These come as the status' error with no stage; nothing is changed.
class EditIntake {
 public:
  struct Options {
    // Submissions that may wait for the intake thread.
    int max_queued = 256;
    // Batches that may be durable and not finished.
    int max_pending_batches = 1024;
    // Of the text in edits that wait for the intake thread or are durable and not finished.
    int64_t max_pending_bytes = int64_t{256} << 20;
    int max_batch_edits = 1000;
    // Told to clients when a queue is full.
    absl::Duration retry_delay = absl::Seconds(1);
    std::function<absl::Time()> clock = absl::Now;
    // Hears of the trace of each batch before that is in the ledger. May be null; outlives the
    // intake.
    BatchTraces* traces = nullptr;
  };
  // All of them outlive this object. `check_edits` is called on the intake thread.
  EditIntake(RevisionStore* store, CheckEdits check_edits, EditEventHub* hub,
             DurableBatchQueue* queue, EditObserver* observer, Options options);
  // Stops.
  ~EditIntake();
  EditIntake(const EditIntake&) = delete;
  EditIntake& operator=(const EditIntake&) = delete;

  void Start();
  // Turns down what is still waiting (UNAVAILABLE, reason DRAINING) and ends the thread.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // Never blocks. RESOURCE_EXHAUSTED (QUEUE_FULL) or UNAVAILABLE (DRAINING): the listener hears
  // nothing then.
  absl::Status Submit(BatchSubmission submission) ABSL_LOCKS_EXCLUDED(mutex_);
  // Cancels a batch, after everything that was submitted before: see DurableBatchQueue::Cancel.
  // Also NOT_FOUND (BATCH_NOT_FOUND). Never blocks; `done` is called once, on this thread where it
  // cannot be queued.
  void Cancel(CancelCommand command, CancelCallback done) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // What waits for the intake thread, and how it hears that it waited in vain.
  struct Arrival {
    std::function<void()> take;
    std::function<void(const absl::Status&)> turn_down;
    // Of the text in its edits.
    int64_t bytes = 0;
  };

  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  // RESOURCE_EXHAUSTED (QUEUE_FULL) where there is no room for so many bytes of edits.
  absl::Status CheckRoom(int64_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Queue(Arrival arrival) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Ready() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !queue_in_.empty();
  }
  void Take(const BatchSubmission& submission);
  void Replay(const BatchSubmission& submission);
  void TakeMalformed(const BatchSubmission& submission,
                     const std::vector<BatchViolation>& violations);
  void TakeNew(const BatchSubmission& submission);
  // Into the ledger, with the trace for the log.
  absl::StatusOr<int64_t> Append(const BatchSubmission& submission, const LedgerEntry& entry);
  void TakeCancel(CancelCommand command, CancelCallback done);
  // Tells the listener that the batch was not taken.
  static void TurnDown(const BatchSubmission& submission, const absl::Status& error);

  RevisionStore* const store_;
  const CheckEdits check_edits_;
  EditEventHub* const hub_;
  DurableBatchQueue* const queue_out_;
  EditObserver* const observer_;
  const Options options_;
  absl::Mutex mutex_;
  std::deque<Arrival> queue_in_ ABSL_GUARDED_BY(mutex_);
  // Of what is in the queue and of what the thread is at.
  int64_t bytes_in_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace amend

#endif  // AMEND_SERVER_EDIT_INTAKE_H_
