#ifndef AMEND_CORE_GENERATION_GRAPH_RECORDER_H_
#define AMEND_CORE_GENERATION_GRAPH_RECORDER_H_

#include <functional>
#include <memory>

namespace amend {

// Work of a device that was recorded once. Not thread-safe.
class RecordedGraph {
 public:
  virtual ~RecordedGraph() = default;
  // Does the work again, on what stands now at the addresses that it was recorded with.
  virtual void Replay() = 0;
};

// Records what a device is told to do. Not thread-safe; outlives its graphs.
class GraphRecorder {
 public:
  virtual ~GraphRecorder() = default;
  // `body` reads and writes tensors whose addresses stay, computes the same from the same input
  // whenever it runs, and waits for nothing on the host. It may run any number of times, now and
  // later; what it wrote is there only after Replay. LibTorch's exceptions pass through.
  virtual std::unique_ptr<RecordedGraph> Record(std::function<void()> body) = 0;
};

}  // namespace amend

#endif  // AMEND_CORE_GENERATION_GRAPH_RECORDER_H_
