#include "core/generation/cuda_graphs.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <c10/core/InferenceMode.h>

#include "core/model/causal_lm.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

// Needs a GPU: not run yet.
TEST(CudaGraphsTest, AReplayReadsWhatStandsThereNow) {
  const std::shared_ptr<GraphRecorder> recorder = NewCudaGraphRecorder();
  if (recorder == nullptr || !CudaIsAvailable()) GTEST_SKIP() << "no CUDA graphs here";
  const c10::InferenceMode inference;
  const at::TensorOptions cuda = at::TensorOptions().device(at::kCUDA);
  const at::Tensor input = at::full({4, 4}, 1.0, cuda);
  const at::Tensor output = at::full({4, 4}, 0.0, cuda);
  const auto graph = recorder->Record([&] { output.copy_(input.mm(input) + 1); });
  for (const double value : {1.0, 2.0, 3.0}) {
    input.fill_(value);
    graph->Replay();
    EXPECT_TRUE(output.eq(4 * value * value + 1).all().item<bool>()) << value;
  }
}

}  // namespace
}  // namespace amend
