#ifndef AMEND_CORE_BASE_PROCESS_MEMORY_H_
#define AMEND_CORE_BASE_PROCESS_MEMORY_H_

#include <cstdint>

namespace amend {

// Settings of the process that fit what editing does with memory. Call once, first of all: before
// threads start and before the first product of LibTorch.
//
// - The C library's allocator keeps blocks of up to 32 MB, and 512 MB of freed memory in all, for
//   the next allocation. Tensors of one optimisation step come and go by the megabyte; by default
//   each is mapped and unmapped, and the threads wait for each other's page faults (12 % of an
//   edit's time on two threads). Does nothing with another C library.
// - oneDNN and LibTorch's wrapper of it keep 128 compiled kernels each instead of 1,024. They make
//   one for every number of rows, which ragged batches hardly repeat; each takes up to a megabyte,
//   so that a server grows by one while it edits. ONEDNN_PRIMITIVE_CACHE_CAPACITY and
//   LRU_CACHE_CAPACITY in the environment win.
// - LibTorch asks the system for huge pages for tensors of 2 MB and more: where the system gives
//   them to those who ask, reading a model's weights once takes a tenth less time.
//   THP_MEM_ALLOC_ENABLE in the environment wins.
void SetUpProcessMemory();

// Gives freed memory that the allocator keeps back to the system; takes milliseconds. What is
// resident afterwards is in use.
void GiveBackFreedMemory();

// What of this process is in memory, in bytes.
int64_t ResidentBytes();

}  // namespace amend

#endif  // AMEND_CORE_BASE_PROCESS_MEMORY_H_
