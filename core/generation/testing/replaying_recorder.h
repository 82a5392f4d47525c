#ifndef AMEND_CORE_GENERATION_TESTING_REPLAYING_RECORDER_H_
#define AMEND_CORE_GENERATION_TESTING_REPLAYING_RECORDER_H_

#include <functional>
#include <memory>

#include "core/generation/graph_recorder.h"

namespace amend {

// Stands in for a device's graphs on the CPU: a replay runs the body once more. As such graphs do,
// it runs the body before the first replay too.
class ReplayingRecorder : public GraphRecorder {
 public:
  std::unique_ptr<RecordedGraph> Record(std::function<void()> body) override;

  int recorded() const { return recorded_; }
  int replayed() const { return replayed_; }
  // Whether a body runs now.
  bool inside() const { return inside_; }
  // From now on every `n`-th replay does nothing, as no graph may: for tests that have to see it.
  void SkipEvery(int n) { skip_every_ = n; }

 private:
  class Graph;

  void Run(const std::function<void()>& body);

  int recorded_ = 0;
  int replayed_ = 0;
  int skip_every_ = 0;
  bool inside_ = false;
};

}  // namespace amend

#endif  // AMEND_CORE_GENERATION_TESTING_REPLAYING_RECORDER_H_
