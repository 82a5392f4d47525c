#ifndef AMEND_CORE_MODEL_WEIGHT_MEMORY_H_
#define AMEND_CORE_MODEL_WEIGHT_MEMORY_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace amend {

// Memory for the large weights of one model, one behind the other in pieces for which the system is
// asked for huge pages. Each token reads all of them: a tensor of some megabytes on its own has
// its ends in small pages, whose looking up costs a fifth of the time that reading takes
// (docs/performance.md). Not thread-safe.
class WeightMemory {
 public:
  // A contiguous copy of `tensor`, which is on the CPU; `tensor` itself where it is small and
  // contiguous. The memory lives as long as a tensor in it.
  at::Tensor Keep(const at::Tensor& tensor);

 private:
  // `bytes` bytes behind what was given last.
  void* Take(int64_t bytes);

  std::shared_ptr<void> piece_;
  char* next_ = nullptr;
  int64_t left_ = 0;
};

}  // namespace amend

#endif  // AMEND_CORE_MODEL_WEIGHT_MEMORY_H_
