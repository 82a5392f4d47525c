#ifndef AMEND_CORE_BASE_TENSOR_MEMORY_H_
#define AMEND_CORE_BASE_TENSOR_MEMORY_H_

namespace amend {

// From now on tensors of LibTorch on the CPU never take the last of the memory: an allocation that
// leaves less than kMemoryMarginBytes fails with a c10::Error, which CatchTorch makes
// RESOURCE_EXHAUSTED. What is left is for allocations and threads of libraries that end the
// process, or wait for ever, where theirs fail. Looks after every 4 MiB that were asked for, so
// that it costs nothing that can be measured. Call once, before the first tensor.
void KeepTensorsFromMemoryMargin();

}  // namespace amend

#endif  // AMEND_CORE_BASE_TENSOR_MEMORY_H_
