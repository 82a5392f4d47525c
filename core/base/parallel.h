#ifndef AMEND_CORE_BASE_PARALLEL_H_
#define AMEND_CORE_BASE_PARALLEL_H_

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace amend {

// Calls body(b, e) for ranges that together are [begin, end), each of `grain` or more (but the
// last), side by side on LibTorch's compute threads; inside, tensor operations run on one thread.
// On the calling thread alone where there is one range, one compute thread or the caller is inside
// already. Returns when all are done; the first exception that one of them threw is thrown again.
// Thread-local settings of LibTorch (no gradients, inference mode) do not reach the other threads.
//
// at::parallel_for of a file that is not compiled with OpenMP runs everything on the calling
// thread, so only this library's may be used.
void ParallelFor(int64_t begin, int64_t end, int64_t grain,
                 absl::FunctionRef<void(int64_t, int64_t)> body);

}  // namespace amend

#endif  // AMEND_CORE_BASE_PARALLEL_H_
