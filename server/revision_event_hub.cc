#include "server/revision_event_hub.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors.h"
#include "server/proto_conversion.h"

namespace amend {

v1::WatchRevisionsResponse RevisionChangedEvent(
    v1::WatchRevisionsResponse::RevisionChanged::Change change, const RevisionRecord& record) {
  v1::WatchRevisionsResponse event;
  event.mutable_revision_changed()->set_change(change);
  *event.mutable_revision_changed()->mutable_revision() = ToProto(record);
  return event;
}

v1::WatchRevisionsResponse LabelMovedEvent(const LabelRecord& label,
                                           std::optional<Revision> previous) {
  v1::WatchRevisionsResponse event;
  *event.mutable_label_moved()->mutable_label() = ToProto(label);
  if (previous) event.mutable_label_moved()->set_previous_revision(previous->value());
  return event;
}

v1::WatchRevisionsResponse LabelDeletedEvent(const LabelRecord& label) {
  v1::WatchRevisionsResponse event;
  *event.mutable_label_deleted()->mutable_label() = ToProto(label);
  return event;
}

void RevisionEventHub::SetState(const std::vector<LabelRecord>& labels, Revision latest) {
  absl::MutexLock lock(&mutex_);
  closed_.reset();
  labels_.clear();
  for (const LabelRecord& label : labels) labels_[label.name] = ToProto(label);
  latest_ = latest.value();
}

absl::Status RevisionEventHub::Attach(RevisionListener listener) {
  const std::shared_ptr<void> alive = listener.owner.lock();
  v1::WatchRevisionsResponse state;
  absl::MutexLock lock(&mutex_);
  if (closed_) return *closed_;
  // Those who went away make room.
  listeners_.erase(std::remove_if(listeners_.begin(), listeners_.end(),
                                  [](const RevisionListener& l) { return l.owner.expired(); }),
                   listeners_.end());
  if (static_cast<int>(listeners_.size()) >= max_listeners_) {
    return WithReason(
        absl::ResourceExhaustedError(absl::StrCat(
            listeners_.size(), " streams watch the revisions, at most ", max_listeners_, " may")),
        "TOO_MANY_WATCHERS");
  }
  state.mutable_state()->set_latest_revision(latest_);
  for (const auto& [name, label] : labels_) *state.mutable_state()->add_labels() = label;
  if (listener.on_event(state)) listeners_.push_back(std::move(listener));
  return absl::OkStatus();
}

void RevisionEventHub::Publish(v1::WatchRevisionsResponse event) {
  absl::MutexLock lock(&mutex_);
  Apply(event);
  const auto is_done = [&](const RevisionListener& listener) {
    const std::shared_ptr<void> alive = listener.owner.lock();
    return alive == nullptr || !listener.on_event(event);
  };
  listeners_.erase(std::remove_if(listeners_.begin(), listeners_.end(), is_done), listeners_.end());
}

void RevisionEventHub::Close(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  closed_ = status;
  for (const RevisionListener& listener : listeners_) {
    if (const std::shared_ptr<void> alive = listener.owner.lock()) listener.on_close(status);
  }
  listeners_.clear();
}

void RevisionEventHub::Apply(v1::WatchRevisionsResponse& event) {
  switch (event.event_case()) {
    case v1::WatchRevisionsResponse::kRevisionChanged: {
      v1::Revision& revision = *event.mutable_revision_changed()->mutable_revision();
      latest_ = std::max(latest_, revision.revision());
      for (const auto& [name, label] : labels_) {
        if (label.revision() == revision.revision()) revision.add_labels(name);
      }
      return;
    }
    case v1::WatchRevisionsResponse::kLabelMoved:
      labels_[event.label_moved().label().name()] = event.label_moved().label();
      return;
    case v1::WatchRevisionsResponse::kLabelDeleted:
      labels_.erase(event.label_deleted().label().name());
      return;
    case v1::WatchRevisionsResponse::kState:
    case v1::WatchRevisionsResponse::EVENT_NOT_SET:
      return;
  }
}

}  // namespace amend
