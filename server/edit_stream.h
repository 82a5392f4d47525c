#ifndef AMEND_SERVER_EDIT_STREAM_H_
#define AMEND_SERVER_EDIT_STREAM_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "amend/v1/edit.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "server/coordinator.h"
#include "server/edit_intake.h"
#include "server/security/caller.h"
#include "server/security/cancellable_stream.h"
#include "server/task_executor.h"
#include "storage/records.h"
#include "storage/revision_store.h"

namespace amend {

// One StreamEdits call. Owns itself until gRPC is done with it; afterwards listeners that still
// hear of its batches find it gone or, while they run, finished. Thread-safe: gRPC's reactions, the
// intake, the coordinator and the executor meet under one mutex, which nobody holds while blocking.
//
//  - One write is outstanding at a time; progress that was not sent yet is replaced by newer
//  progress of the same batch.
//  - Nothing is read while too much waits to be written: a client that does not read is not read
//  from.
//  - Ends OK after the client's half-close, once every batch sent on it is in a terminal stage. A
//  client that goes away ends the stream
//    only; its durable batches are solved all the same.
class EditStream final
    : public grpc::ServerBidiReactor<v1::StreamEditsRequest, v1::StreamEditsResponse>,
      public CancellableStream,
      public std::enable_shared_from_this<EditStream> {
 public:
  // What a stream works with; all of it outlives the gRPC server.
  struct Environment {
    EditIntake* intake = nullptr;
    const Coordinator* coordinator = nullptr;
    const RevisionStore* store = nullptr;
    TaskExecutor* executor = nullptr;
    int credits = 16;
    GateThresholds default_thresholds;
    // The principal that sends; empty where nobody is asked.
    std::string actor;
    // Of this call; for the log.
    std::string trace_id;
    // Until the call is finished; null where there are no limits.
    Caller* caller = nullptr;
  };
  // Begins to read.
  static EditStream* Create(const Environment& environment);

  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone() override;
  std::function<void()> Canceller() override { return CancellerOf(weak_from_this()); }

 private:
  // One response that waits; `submission` is 0 where it belongs to no batch.
  struct Outgoing {
    int64_t submission = 0;
    v1::StreamEditsResponse response;
  };

  explicit EditStream(const Environment& environment) : environment_(environment) {}

  void HandleRequest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandleStart(const v1::StreamEditsRequest::Start& start)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandleBatch(const v1::StreamEditsRequest::Batch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnStarted(const absl::StatusOr<int64_t>& next_offset) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnBatchStatus(int64_t submission, const v1::EditBatchStatus& status)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Send(int64_t submission, const v1::EditBatchStatus& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The stream ends with `status` once what waits is written.
  void EndWith(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AnswerFlushes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t FlushedOffset() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayRead() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Starts whatever can be started now: a write, a read, the end.
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Environment environment_;
  // Until OnDone.
  std::shared_ptr<EditStream> self_;

  absl::Mutex mutex_;
  // Belongs to the read that is outstanding, else to HandleRequest.
  v1::StreamEditsRequest request_;
  // Belongs to the write that is outstanding.
  v1::StreamEditsResponse response_;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  // The first message came, and the executor looks for the next offset.
  bool starting_ ABSL_GUARDED_BY(mutex_) = false;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);

  std::string session_ ABSL_GUARDED_BY(mutex_);
  PromotionPolicy promotion_ ABSL_GUARDED_BY(mutex_) = PromotionPolicy::kWhenValidated;
  FailurePolicy failure_ ABSL_GUARDED_BY(mutex_) = FailurePolicy::kAllOrNothing;
  GateThresholds thresholds_ ABSL_GUARDED_BY(mutex_);
  std::deque<Outgoing> out_ ABSL_GUARDED_BY(mutex_);
  // Submissions are numbered from 1.
  int64_t last_submission_ ABSL_GUARDED_BY(mutex_) = 0;
  // Those that are in flight, with their offsets.
  std::map<int64_t, int64_t> in_flight_ ABSL_GUARDED_BY(mutex_);
  // Flushes that wait, each for the submissions up to this one.
  std::deque<int64_t> flushes_ ABSL_GUARDED_BY(mutex_);
  // The session's offsets below this one are taken, and terminal unless the coordinator still has
  // them.
  int64_t settled_offset_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_EDIT_STREAM_H_
