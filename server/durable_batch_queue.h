#ifndef AMEND_SERVER_DURABLE_BATCH_QUEUE_H_
#define AMEND_SERVER_DURABLE_BATCH_QUEUE_H_

#include "storage/records.h"

namespace amend {

// Where batches go once they are in the ledger. Implementations are thread-safe and never block.
class DurableBatchQueue {
 public:
  virtual ~DurableBatchQueue() = default;

  // Takes a batch in state kDurable, in order of arrival.
  virtual void Enqueue(LedgerEntry entry) = 0;
  // Batches taken and not finished.
  virtual int depth() const = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_DURABLE_BATCH_QUEUE_H_
