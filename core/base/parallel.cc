#include "core/base/parallel.h"

#include <ATen/Parallel.h>

#ifndef _OPENMP
#error "without -fopenmp at::parallel_for runs on one thread"
#endif

namespace amend {

void ParallelFor(int64_t begin, int64_t end, int64_t grain,
                 absl::FunctionRef<void(int64_t, int64_t)> body) {
  at::parallel_for(begin, end, grain, body);
}

}  // namespace amend
