#include "core/generation/testing/replaying_recorder.h"

#include <utility>

namespace amend {

class ReplayingRecorder::Graph : public RecordedGraph {
 public:
  Graph(ReplayingRecorder* recorder, std::function<void()> body)
      : recorder_(recorder), body_(std::move(body)) {}

  void Replay() override {
    ++recorder_->replayed_;
    const int skip = recorder_->skip_every_;
    if (skip == 0 || recorder_->replayed_ % skip != 0) recorder_->Run(body_);
  }

 private:
  ReplayingRecorder* const recorder_;
  const std::function<void()> body_;
};

void ReplayingRecorder::Run(const std::function<void()>& body) {
  inside_ = true;
  body();
  inside_ = false;
}

std::unique_ptr<RecordedGraph> ReplayingRecorder::Record(std::function<void()> body) {
  ++recorded_;
  Run(body);
  return std::make_unique<Graph>(this, std::move(body));
}

}  // namespace amend
