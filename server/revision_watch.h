#ifndef AMEND_SERVER_REVISION_WATCH_H_
#define AMEND_SERVER_REVISION_WATCH_H_

#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "amend/v1/revision.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "server/revision_event_hub.h"
#include "server/security/cancellable_stream.h"

namespace amend {

// One WatchRevisions call. Owns itself until gRPC is done with it. Thread-safe.
//
// At most `max_waiting` events wait to be written; a reader that lets more of them come is ended
// with RESOURCE_EXHAUSTED (reason WATCH_TOO_SLOW), without those that waited.
class RevisionWatch final : public grpc::ServerWriteReactor<v1::WatchRevisionsResponse>,
                            public CancellableStream,
                            public std::enable_shared_from_this<RevisionWatch> {
 public:
  // Attaches to the hub, which outlives the gRPC server.
  static RevisionWatch* Create(RevisionEventHub* hub, int max_waiting);

  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone() override;
  std::function<void()> Canceller() override { return CancellerOf(weak_from_this()); }

 private:
  explicit RevisionWatch(int max_waiting) : max_waiting_(max_waiting) {}

  // False once the call ends.
  bool OnEvent(const v1::WatchRevisionsResponse& event) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndWith(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  // Starts whatever can be started now: a write, the end.
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int max_waiting_;
  // Until OnDone.
  std::shared_ptr<RevisionWatch> self_;

  absl::Mutex mutex_;
  // Belongs to the write that is outstanding.
  v1::WatchRevisionsResponse response_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<v1::WatchRevisionsResponse> out_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_REVISION_WATCH_H_
