#ifndef AMEND_SERVER_DURABLE_BATCH_QUEUE_H_
#define AMEND_SERVER_DURABLE_BATCH_QUEUE_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "storage/records.h"

namespace amend {

// Of the text in the edits, roughly what they take in memory.
inline int64_t TextBytes(const std::vector<Edit>& edits) {
  int64_t bytes = 0;
  for (const Edit& edit : edits) {
    bytes += static_cast<int64_t>(sizeof(Edit) + edit.prompt.size() + edit.subject.size() +
                                  edit.target_new.size());
    for (const std::string& text : edit.paraphrases) bytes += sizeof(text) + text.size();
    for (const Probe& probe : edit.probes) {
      bytes += sizeof(probe) + probe.prompt.size() + probe.answer.size();
    }
  }
  return bytes;
}

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
  // Of the text in their edits.
  virtual int64_t bytes() const = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_DURABLE_BATCH_QUEUE_H_
