#ifndef AMEND_SERVER_EDIT_EVENT_HUB_H_
#define AMEND_SERVER_EDIT_EVENT_HUB_H_

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "amend/v1/edit.pb.h"
#include "storage/records.h"

namespace amend {

// Who wants to know what becomes of a batch. `on_status` is called only while `owner` lives, and
// keeps it alive for the call; calls come from the intake and the coordinator's threads, so it must
// not block. After a status that IsLast says is the last one there may be a second last one with
// the same outcome, to be ignored.
struct BatchListener {
  std::weak_ptr<void> owner;
  std::function<void(const v1::EditBatchStatus&)> on_status;

  void Notify(const v1::EditBatchStatus& status) const {
    if (const std::shared_ptr<void> alive = owner.lock()) on_status(status);
  }
};

// Carries the stages of a batch from the threads that work on it to the streams that wait for it.
// Thread-safe; never waits for a listener.
class EditEventHub {
 public:
  // At most so many listeners wait for one batch.
  explicit EditEventHub(int max_listeners_per_batch = 64)
      : max_listeners_per_batch_(max_listeners_per_batch) {}

  // From now on `listener` hears of this batch, up to its last status. RESOURCE_EXHAUSTED (reason
  // TOO_MANY_WATCHERS) when as many as allowed wait already.
  absl::Status Attach(const BatchKey& key, BatchListener listener) ABSL_LOCKS_EXCLUDED(mutex_);
  // Forgets everybody who waits for a batch that will not come after all.
  void DetachAll(const BatchKey& key) ABSL_LOCKS_EXCLUDED(mutex_);
  // Tells the listeners of the batch, on this thread; after its last status nobody waits for it any
  // more.
  void Publish(const v1::EditBatchStatus& status) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const int max_listeners_per_batch_;
  absl::Mutex mutex_;
  std::map<BatchKey, std::vector<BatchListener>> listeners_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_EDIT_EVENT_HUB_H_
