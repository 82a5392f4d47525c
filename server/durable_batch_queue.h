#ifndef AMEND_SERVER_DURABLE_BATCH_QUEUE_H_
#define AMEND_SERVER_DURABLE_BATCH_QUEUE_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "storage/records.h"

namespace amend {

struct CancelCommand {
  BatchKey key;
  std::string reason;
  std::string actor;
};

// What became of the batch, or why it was not cancelled. Must not block.
using CancelCallback = std::function<void(absl::StatusOr<LedgerEntry>)>;

// Where batches go once they are in the ledger. Implementations are thread-safe and never block.
class DurableBatchQueue {
 public:
  virtual ~DurableBatchQueue() = default;

  // Takes a batch in state kDurable, in order of arrival.
  virtual void Enqueue(LedgerEntry entry) = 0;
  // Ends a batch that was enqueued and has not come to its end: kFailed, reason
  // CANCELLED_BY_CLIENT. FAILED_PRECONDITION (BATCH_CONCLUDED) for one that has. `done` is called
  // once.
  virtual void Cancel(CancelCommand command, CancelCallback done) = 0;
  // Batches taken and not finished.
  virtual int depth() const = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_DURABLE_BATCH_QUEUE_H_
