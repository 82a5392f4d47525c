#ifndef AMEND_SERVER_TESTING_RECORDING_SINK_H_
#define AMEND_SERVER_TESTING_RECORDING_SINK_H_

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/scheduler.h"

namespace amend {

// Collects what a sequence yields; has room for `room` events until more is given. Thread-safe.
class RecordingSink : public TokenSink {
 public:
  explicit RecordingSink(int room = 1 << 20) : room_(room) {}

  bool Cancelled() const override {
    absl::MutexLock lock(&mutex_);
    return cancelled_;
  }
  bool HasRoom() const override {
    absl::MutexLock lock(&mutex_);
    paused_ = room_ <= 0;
    return !paused_;
  }
  void OnTokens(TokenEvent event) override {
    absl::MutexLock lock(&mutex_);
    --room_;
    text_ += event.text;
    tokens_.insert(tokens_.end(), event.token_ids.begin(), event.token_ids.end());
    logprobs_.insert(logprobs_.end(), event.logprobs.begin(), event.logprobs.end());
    firings_.insert(firings_.end(), event.firings.begin(), event.firings.end());
    ++events_;
  }
  void OnEnd(const GenerationEnd& end) override {
    absl::MutexLock lock(&mutex_);
    end_ = end;
    ended_ = true;
  }

  void Cancel() {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
  }
  void GiveRoom(int room) {
    absl::MutexLock lock(&mutex_);
    room_ += room;
    paused_ = false;
  }
  // Until the scheduler found no room.
  void AwaitPause() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&paused_));
  }
  GenerationEnd AwaitEnd() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&ended_));
    return end_;
  }
  void AwaitEvents(int count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, count]()
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return events_ >= count; };
    mutex_.Await(absl::Condition(&enough));
  }
  bool ended() const {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }
  std::string text() const {
    absl::MutexLock lock(&mutex_);
    return text_;
  }
  std::vector<TokenId> tokens() const {
    absl::MutexLock lock(&mutex_);
    return tokens_;
  }
  std::vector<float> logprobs() const {
    absl::MutexLock lock(&mutex_);
    return logprobs_;
  }
  std::vector<HookFiring> firings() const {
    absl::MutexLock lock(&mutex_);
    return firings_;
  }

 private:
  mutable absl::Mutex mutex_;
  int room_ ABSL_GUARDED_BY(mutex_);
  mutable bool paused_ ABSL_GUARDED_BY(mutex_) = false;
  int events_ ABSL_GUARDED_BY(mutex_) = 0;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::string text_ ABSL_GUARDED_BY(mutex_);
  std::vector<TokenId> tokens_ ABSL_GUARDED_BY(mutex_);
  std::vector<float> logprobs_ ABSL_GUARDED_BY(mutex_);
  std::vector<HookFiring> firings_ ABSL_GUARDED_BY(mutex_);
  GenerationEnd end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_TESTING_RECORDING_SINK_H_
