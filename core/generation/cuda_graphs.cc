#include "core/generation/cuda_graphs.h"

// Defined by third_party/libtorch.bzl. Compiled so by hand, not run.
#ifdef AMEND_HAS_CUDA_RUNTIME

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <functional>
#include <optional>

namespace amend {
namespace {

class CudaGraph : public RecordedGraph {
 public:
  // Launches it on the current stream.
  void Replay() override { graph_.replay(); }

  // Other threads may go on allocating memory meanwhile: only this one is held to what can be
  // captured.
  void Capture(at::cuda::MempoolId_t pool, const std::function<void()>& body) {
    graph_.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    try {
      body();
    } catch (...) {
      AbandonCapture();
      throw;
    }
    graph_.capture_end();
  }

 private:
  // The stream must not stay in capture. That it was broken off is an error of its own.
  void AbandonCapture() {
    try {
      graph_.capture_end();
    } catch (...) {
    }
  }

  at::cuda::CUDAGraph graph_;
};

class CudaGraphRecorder : public GraphRecorder {
 public:
  std::unique_ptr<RecordedGraph> Record(std::function<void()> body) override {
    // Capture needs a stream beside the default one. What the body reads has to be there first.
    c10::cuda::getCurrentCUDAStream().synchronize();
    if (!stream_) stream_ = c10::cuda::getStreamFromPool();
    const c10::cuda::CUDAStreamGuard guard(*stream_);
    // The first run of an operation allocates workspaces and loads kernels: not in a capture.
    body();
    stream_->synchronize();
    auto graph = std::make_unique<CudaGraph>();
    graph->Capture(pool_, body);
    return graph;
  }

 private:
  // Shared by all graphs: none reads temporary tensors of another, and they run one by one.
  const at::cuda::MempoolId_t pool_ = at::cuda::graph_pool_handle();
  std::optional<c10::cuda::CUDAStream> stream_;
};

}  // namespace

std::shared_ptr<GraphRecorder> NewCudaGraphRecorder() {
  return std::make_shared<CudaGraphRecorder>();
}

}  // namespace amend

#else

namespace amend {

std::shared_ptr<GraphRecorder> NewCudaGraphRecorder() { return nullptr; }

}  // namespace amend

#endif  // AMEND_HAS_CUDA_RUNTIME
