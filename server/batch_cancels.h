#ifndef AMEND_SERVER_BATCH_CANCELS_H_
#define AMEND_SERVER_BATCH_CANCELS_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/durable_batch_queue.h"
#include "storage/records.h"

namespace amend {

// Why a batch is kFailed that a client cancelled: CANCELLED, reason CANCELLED_BY_CLIENT.
absl::Status CancelledByClient(const CancelCommand& command);
// FAILED_PRECONDITION (BATCH_CONCLUDED): it came to its end before it could be cancelled.
absl::Status BatchConcluded(const LedgerEntry& entry);

// NOT_FOUND (BATCH_NOT_FOUND), with what the store says.
absl::Status BatchNotFound(const BatchKey& key, const absl::Status& status);

// Cancels that wait for the coordinator. Thread-safe.
class BatchCancels {
 public:
  struct Cancel {
    CancelCommand command;
    CancelCallback done;
  };

  void Add(Cancel cancel) ABSL_LOCKS_EXCLUDED(mutex_);
  int size() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether TakeOthers would take any.
  bool HasOthers(const std::optional<BatchKey>& key) const ABSL_LOCKS_EXCLUDED(mutex_);
  // The first command for this batch.
  std::optional<CancelCommand> Find(const BatchKey& key) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes those for this batch.
  std::vector<Cancel> Take(const BatchKey& key) ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes those for every other batch, or for all of them.
  std::vector<Cancel> TakeOthers(const std::optional<BatchKey>& key) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  std::vector<Cancel> TakeIf(const std::function<bool(const BatchKey&)>& wanted)
      ABSL_LOCKS_EXCLUDED(mutex_);

  mutable absl::Mutex mutex_;
  std::vector<Cancel> cancels_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_BATCH_CANCELS_H_
