#ifndef AMEND_CLIENT_EDIT_STREAM_H_
#define AMEND_CLIENT_EDIT_STREAM_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "amend/v1/edit.grpc.pb.h"
#include "amend/v1/edit.pb.h"

namespace amend::client {

struct EditStreamOptions {
  // 1 to 128 characters of [A-Za-z0-9._:-].
  std::string session;
  amend::v1::Promotion promotion = amend::v1::PROMOTE_WHEN_VALIDATED;
  amend::v1::FailurePolicy failure_policy = amend::v1::ALL_OR_NOTHING;
  amend::v1::GateThresholds thresholds;
  // Attempts to connect again in a row, without a batch that finished in between.
  int max_reconnects = 8;
  // Pause before the first such attempt; doubles up to the second value.
  absl::Duration first_pause = absl::Milliseconds(200);
  absl::Duration longest_pause = absl::Seconds(5);
  // For tests.
  std::function<void(absl::Duration)> sleep = absl::SleepFor;
};

// Told what happens, on the thread that called RunEditStream. Must not call back into the stream.
class EditStreamObserver {
 public:
  virtual ~EditStreamObserver() = default;
  // Connected, also after a lost connection. `next_offset` is the first that the session has not
  // used: batches before it have been sent already, perhaps by an earlier process.
  virtual void OnStarted(int64_t next_offset) = 0;
  // Any stage of a batch, in the order of arrival.
  virtual void OnBatch(const amend::v1::EditBatchStatus& batch) = 0;
  // The connection broke; the next attempt starts after `pause`.
  virtual void OnReconnect(int attempt, const absl::Status& why, absl::Duration pause) = 0;
};

// True when nothing more will happen to a batch.
bool IsTerminal(amend::v1::BatchStage stage, amend::v1::Promotion promotion);

// Streams `batches` as offsets 0, 1, 2, ... of a session and waits until each is in a terminal
// stage. Returns their statuses in this order; a batch that was rejected or failed is a result, not
// an error.
//
// Resuming: every offset is sent again and the server answers those it has seen with the recorded
// outcome, so running the same batches twice does nothing twice. A recorded batch of another size
// than the one sent is FAILED_PRECONDITION: the session belongs to other edits.
// Lost connections: reconnects and sends what has no outcome yet, `max_reconnects` times in a row;
// then the last error, with the number of finished batches.
// Flow: never more batches in flight than the credits that the server grants, and reading never
// waits for writing.
absl::StatusOr<std::vector<amend::v1::EditBatchStatus>> RunEditStream(
    amend::v1::EditService::StubInterface* stub, const EditStreamOptions& options,
    const std::vector<amend::v1::EditBatch>& batches, EditStreamObserver* observer);

}  // namespace amend::client

#endif  // AMEND_CLIENT_EDIT_STREAM_H_
