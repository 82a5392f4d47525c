#ifndef AMEND_SERVER_EXPORT_STREAM_H_
#define AMEND_SERVER_EXPORT_STREAM_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "amend/v1/revision.pb.h"
#include "core/editing/merged_checkpoint.h"
#include "grpcpp/grpcpp.h"
#include "server/security/cancellable_stream.h"
#include "server/serving_model.h"
#include "server/task_executor.h"

namespace amend {

// The files of one export and their bytes, piece by piece: see MergedCheckpoint.
struct ExportSource {
  std::vector<ExportFile> files;
  std::function<absl::StatusOr<std::optional<ExportPiece>>()> next;
};

// Exports that run at once; each has some megabytes in memory.
inline constexpr int kMaxExports = 4;

// One ExportRevision call. Each message is made on the executor once the one before it is written:
// a client that is slow, or does not read, holds no thread and one message. The revision is
// resolved once, at the beginning. Owns itself until gRPC is done with it. Thread-safe: at most one
// task or write is outstanding.
class ExportStream final : public grpc::ServerWriteReactor<v1::ExportRevisionResponse>,
                           public CancellableStream,
                           public std::enable_shared_from_this<ExportStream> {
 public:
  // What streams work with; all of it outlives the gRPC server.
  struct Environment {
    const ServingModel* serving = nullptr;
    TaskExecutor* executor = nullptr;
    // Called on the executor.
    std::function<absl::StatusOr<ExportSource>(const Snapshot& snapshot, bool projections_only)>
        open;
    std::string model_fingerprint;
    // Of all streams.
    std::atomic<int> running{0};
  };
  static ExportStream* Start(Environment* environment, const v1::ExportRevisionRequest& request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override;
  std::function<void()> Canceller() override { return CancellerOf(weak_from_this()); }

 private:
  explicit ExportStream(Environment* environment) : environment_(environment) {}

  // Has `step` make the next message on the executor; true from it means that there is one.
  void Continue(std::function<absl::StatusOr<bool>()> step);
  absl::StatusOr<bool> Open(bool projections_only);
  absl::StatusOr<bool> NextPiece();

  Environment* const environment_;
  // Until OnDone.
  std::shared_ptr<ExportStream> self_;
  std::atomic<bool> cancelled_ = false;
  bool counted_ = false;
  std::shared_ptr<const Snapshot> snapshot_;
  ExportSource source_;
  v1::ExportRevisionResponse response_;
};

}  // namespace amend

#endif  // AMEND_SERVER_EXPORT_STREAM_H_
