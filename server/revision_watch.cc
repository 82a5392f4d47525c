#include "server/revision_watch.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors.h"

namespace amend {

RevisionWatch* RevisionWatch::Create(RevisionEventHub* hub, int max_waiting) {
  const std::shared_ptr<RevisionWatch> watch(new RevisionWatch(max_waiting));
  watch->self_ = watch;
  RevisionListener listener;
  listener.owner = watch;
  // Called only while the watch lives.
  RevisionWatch* const self = watch.get();
  listener.on_event = [self](const v1::WatchRevisionsResponse& event) {
    return self->OnEvent(event);
  };
  listener.on_close = [self](const absl::Status& status) { self->EndWith(status); };
  const absl::Status attached = hub->Attach(std::move(listener));
  if (!attached.ok()) watch->EndWith(attached);
  return self;
}

void RevisionWatch::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  if (!ok) end_ = absl::CancelledError("the client went away");
  Advance();
}

void RevisionWatch::OnCancel() { EndWith(absl::CancelledError("the client went away")); }

void RevisionWatch::OnDone() {
  // May be the last reference: nothing of this object is touched after it.
  const std::shared_ptr<RevisionWatch> self = std::move(self_);
}

bool RevisionWatch::OnEvent(const v1::WatchRevisionsResponse& event) {
  absl::MutexLock lock(&mutex_);
  if (end_) return false;
  if (static_cast<int>(out_.size()) >= max_waiting_) {
    end_ = WithReason(absl::ResourceExhaustedError(absl::StrCat(
                          out_.size(), " events wait for this stream to be read, at most ",
                          max_waiting_, " may")),
                      "WATCH_TOO_SLOW");
    out_.clear();
  } else {
    out_.push_back(event);
  }
  Advance();
  return !end_;
}

void RevisionWatch::EndWith(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (!end_) end_ = status;
  Advance();
}

void RevisionWatch::Advance() {
  if (writing_ || finished_) return;
  if (end_) {
    finished_ = true;
    out_.clear();
    Finish(ToGrpcStatus(*end_));
    return;
  }
  if (out_.empty()) return;
  response_ = std::move(out_.front());
  out_.pop_front();
  writing_ = true;
  StartWrite(&response_);
}

}  // namespace amend
