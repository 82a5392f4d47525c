#include "core/model/weight_memory.h"

#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace amend {
namespace {

constexpr int64_t kHugePage = 2 << 20;
// What is never written to takes no memory.
constexpr int64_t kPiece = 256 << 20;
// Smaller tensors are not worth it.
constexpr int64_t kSmall = 256 << 10;
// Of each tensor's beginning.
constexpr int64_t kAlignment = 64;

int64_t RoundUp(int64_t bytes, int64_t to) { return (bytes + to - 1) / to * to; }

// `bytes` bytes that begin with a huge page, where the system gives one.
std::shared_ptr<void> NewPiece(int64_t bytes, char** begin) {
  const auto mapped = static_cast<size_t>(bytes + kHugePage);
  void* const memory =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  const auto address =
      RoundUp(static_cast<int64_t>(reinterpret_cast<uintptr_t>(memory)), kHugePage);
  *begin = reinterpret_cast<char*>(address);
  // Without them it is slower, and right.
  madvise(*begin, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return {memory, [mapped](void* m) { munmap(m, mapped); }};
}

}  // namespace

void* WeightMemory::Take(int64_t bytes) {
  const int64_t taken = RoundUp(bytes, kAlignment);
  if (taken > left_) {
    left_ = RoundUp(std::max(taken, kPiece), kHugePage);
    piece_ = NewPiece(left_, &next_);
  }
  left_ -= taken;
  next_ += taken;
  return next_ - taken;
}

at::Tensor WeightMemory::Keep(const at::Tensor& tensor) {
  const auto bytes = static_cast<int64_t>(tensor.numel() * tensor.element_size());
  if (bytes < kSmall) return tensor.contiguous();
  void* const memory = Take(bytes);
  at::Tensor kept = at::from_blob(
      memory, tensor.sizes(), [piece = piece_](void*) {}, tensor.options());
  kept.copy_(tensor);
  return kept;
}

}  // namespace amend
