#ifndef AMEND_SERVER_VERIFY_STREAM_H_
#define AMEND_SERVER_VERIFY_STREAM_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "amend/v1/admin.pb.h"
#include "grpcpp/grpcpp.h"
#include "server/security/cancellable_stream.h"
#include "server/task_executor.h"
#include "storage/revision_store.h"

namespace amend {

// One VerifyStore call. The verification runs on the executor and never waits for the client: of
// progress that was not written yet only the newest is. It ends early when the client goes away.
// Owns itself until gRPC and the executor are done with it. Thread-safe.
class VerifyStream final : public grpc::ServerWriteReactor<v1::VerifyStoreResponse>,
                           public CancellableStream,
                           public std::enable_shared_from_this<VerifyStream> {
 public:
  // Begins. Both outlive the gRPC server.
  static VerifyStream* Start(const RevisionStore* store, TaskExecutor* executor);

  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { const std::shared_ptr<VerifyStream> self = std::move(self_); }
  std::function<void()> Canceller() override { return CancellerOf(weak_from_this()); }

 private:
  VerifyStream() = default;
  void OnProgress(const StoreVerification& so_far) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnEnd(const absl::StatusOr<StoreVerification>& result) ABSL_LOCKS_EXCLUDED(mutex_);
  // Starts what can be started now: a write, or the end.
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::atomic<bool> cancelled_ = false;
  std::shared_ptr<VerifyStream> self_;
  absl::Mutex mutex_;
  // Belongs to the write that is outstanding.
  v1::VerifyStoreResponse response_;
  std::optional<v1::VerifyStoreResponse> next_ ABSL_GUARDED_BY(mutex_);
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace amend

#endif  // AMEND_SERVER_VERIFY_STREAM_H_
