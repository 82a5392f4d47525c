#include "server/edit_event_hub.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors.h"
#include "server/proto_conversion.h"

namespace amend {

absl::Status EditEventHub::Attach(const BatchKey& key, BatchListener listener) {
  absl::MutexLock lock(&mutex_);
  std::vector<BatchListener>& waiting = listeners_[key];
  // Those who went away make room.
  waiting.erase(std::remove_if(waiting.begin(), waiting.end(),
                               [](const BatchListener& l) { return l.owner.expired(); }),
                waiting.end());
  if (static_cast<int>(waiting.size()) >= max_listeners_per_batch_) {
    return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                          "session \"", key.session, "\" offset ", key.offset, ": ", waiting.size(),
                          " streams wait for it, at most ", max_listeners_per_batch_, " may")),
                      "TOO_MANY_WATCHERS");
  }
  waiting.push_back(std::move(listener));
  return absl::OkStatus();
}

void EditEventHub::DetachAll(const BatchKey& key) {
  absl::MutexLock lock(&mutex_);
  listeners_.erase(key);
}

void EditEventHub::Publish(const v1::EditBatchStatus& status) {
  std::vector<BatchListener> listeners;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = listeners_.find(BatchKey{status.session(), status.offset()});
    if (found == listeners_.end()) return;
    listeners = found->second;
    if (IsLast(status)) listeners_.erase(found);
  }
  for (const BatchListener& listener : listeners) listener.Notify(status);
}

}  // namespace amend
