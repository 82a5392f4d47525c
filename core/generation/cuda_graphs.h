#ifndef AMEND_CORE_GENERATION_CUDA_GRAPHS_H_
#define AMEND_CORE_GENERATION_CUDA_GRAPHS_H_

#include <memory>

#include "core/generation/graph_recorder.h"

namespace amend {

// Records CUDA graphs. Null in a build without them: they need a LibTorch with CUDA and CUDA's
// headers (third_party/libtorch.bzl). Compiled by hand, not run: docs/decisions/0038.
std::shared_ptr<GraphRecorder> NewCudaGraphRecorder();

}  // namespace amend

#endif  // AMEND_CORE_GENERATION_CUDA_GRAPHS_H_
