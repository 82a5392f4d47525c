#ifndef AMEND_SERVER_REVISION_EVENT_HUB_H_
#define AMEND_SERVER_REVISION_EVENT_HUB_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "amend/v1/revision.pb.h"
#include "storage/records.h"

namespace amend {

v1::WatchRevisionsResponse RevisionChangedEvent(
    v1::WatchRevisionsResponse::RevisionChanged::Change change, const RevisionRecord& record);
// `previous` is absent for a new label.
v1::WatchRevisionsResponse LabelMovedEvent(const LabelRecord& label,
                                           std::optional<Revision> previous);
v1::WatchRevisionsResponse LabelDeletedEvent(const LabelRecord& label);

// Who wants to know what becomes of revisions and labels. Called only while `owner` lives, one call
// at a time and with the hub locked: it must not block or call the hub.
struct RevisionListener {
  std::weak_ptr<void> owner;
  // False when it wants no more.
  std::function<bool(const v1::WatchRevisionsResponse&)> on_event;
  // Nothing more comes.
  std::function<void(const absl::Status&)> on_close;
};

// Carries changes of revisions and labels from the coordinator to the streams that watch them.
// Thread-safe; never waits for a listener.
//
// It knows where things stand, so that a listener gets a state and then exactly what changes after
// it. Whoever publishes does so after the change is durable, in the order of the changes.
class RevisionEventHub {
 public:
  explicit RevisionEventHub(int max_listeners = 64) : max_listeners_(max_listeners) {}

  // Where things stand when the coordinator begins; before anybody attaches or publishes.
  void SetState(const std::vector<LabelRecord>& labels, Revision latest)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The listener gets the state now, on this thread, and every event from now on.
  // RESOURCE_EXHAUSTED (reason TOO_MANY_WATCHERS) when as many as allowed listen already; the
  // status of Close after it.
  absl::Status Attach(RevisionListener listener) ABSL_LOCKS_EXCLUDED(mutex_);
  void Publish(v1::WatchRevisionsResponse event) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends all listening, with `status`.
  void Close(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Apply(v1::WatchRevisionsResponse& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int max_listeners_;
  absl::Mutex mutex_;
  std::map<std::string, v1::Label> labels_ ABSL_GUARDED_BY(mutex_);
  int64_t latest_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<RevisionListener> listeners_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> closed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_REVISION_EVENT_HUB_H_
