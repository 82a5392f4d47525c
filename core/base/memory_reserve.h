#ifndef AMEND_CORE_BASE_MEMORY_RESERVE_H_
#define AMEND_CORE_BASE_MEMORY_RESERVE_H_

#include <cstdint>

namespace amend {

// Address space that is kept back for the moment when memory ends, so that what has to go on then
// can: an error that is made and sent, a thread that gRPC starts. Where large allocations fail, the
// small ones of libraries that end the process when theirs do (gRPC's, Abseil's) still succeed.
//
// There is one reserve in a process. It is mapped and never touched, so that it counts against
// RLIMIT_AS and RLIMIT_DATA but takes no memory. All functions are thread-safe.

inline constexpr int64_t kMemoryReserveBytes = int64_t{64} << 20;
// What has to be left beside the reserve: with less, memory is short.
inline constexpr int64_t kMemoryMarginBytes = int64_t{32} << 20;

// Maps the reserve, and has `operator new` release it and try again where it fails. Call once,
// before threads start.
void SetUpMemoryReserve();

// Gives the reserve up: for whoever sees an allocation fail that `operator new` did not make.
// Allocates nothing. Does nothing where it is released already, or was never set up.
void ReleaseMemoryReserve();

// Whether the margin could be mapped now; takes microseconds.
bool HasMemoryMargin();

// Whether memory is short: the margin cannot be had, or the reserve was released and cannot be had
// back with it. To be asked before work begins: it looks itself, which takes microseconds, and
// releases the reserve when there is no margin. It tries to have the reserve back at most every
// 100 ms, after giving what the allocator keeps back to the system. False before
// SetUpMemoryReserve.
bool MemoryIsShort();

}  // namespace amend

#endif  // AMEND_CORE_BASE_MEMORY_RESERVE_H_
