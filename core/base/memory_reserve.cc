#include "core/base/memory_reserve.h"

#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <new>

#include "absl/time/clock.h"
#include "core/base/process_memory.h"

namespace amend {
namespace {

constexpr int64_t kRetryNanos = 100'000'000;

// Null before SetUpMemoryReserve, and while the reserve is released.
std::atomic<void*> reserve{nullptr};
std::atomic<bool> is_short{false};
std::atomic<int64_t> next_try_nanos{0};

// Null where there is no room.
void* Map(int64_t bytes) {
  void* const mapped = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return mapped == MAP_FAILED ? nullptr : mapped;
}

// False where there was none to release.
bool Release() {
  void* const mapped = reserve.exchange(nullptr);
  if (mapped == nullptr) return false;
  is_short = true;
  munmap(mapped, kMemoryReserveBytes);
  return true;
}

void OnNewFailed() {
  if (!Release()) throw std::bad_alloc();
}

}  // namespace

void SetUpMemoryReserve() {
  reserve = Map(kMemoryReserveBytes);
  std::set_new_handler(OnNewFailed);
}

void ReleaseMemoryReserve() { Release(); }

bool HasMemoryMargin() {
  void* const mapped = Map(kMemoryMarginBytes);
  if (mapped == nullptr) return false;
  munmap(mapped, kMemoryMarginBytes);
  return true;
}

bool MemoryIsShort() {
  if (!is_short) return reserve.load() != nullptr && !HasMemoryMargin() && Release();
  const int64_t now = absl::GetCurrentTimeNanos();
  int64_t due = next_try_nanos;
  // Whoever moves the time on is the one who tries.
  if (now < due || !next_try_nanos.compare_exchange_strong(due, now + kRetryNanos)) return is_short;
  GiveBackFreedMemory();
  void* const mapped = Map(kMemoryReserveBytes);
  if (mapped == nullptr) return true;
  if (!HasMemoryMargin()) {
    munmap(mapped, kMemoryReserveBytes);
    return true;
  }
  // Before the reserve is there: whoever releases it says so afterwards.
  is_short = false;
  reserve = mapped;
  return false;
}

}  // namespace amend
