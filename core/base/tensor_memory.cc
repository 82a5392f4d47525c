#include "core/base/tensor_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/base/memory_reserve.h"
#include "core/base/process_memory.h"

namespace amend {
namespace {

constexpr int64_t kBytesBetweenLooks = int64_t{4} << 20;
// Above that of LibTorch's own.
constexpr uint8_t kPriority = 1;

bool HasMarginOnceFreedIsGivenBack() {
  GiveBackFreedMemory();
  return HasMemoryMargin();
}

class MarginAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    c10::DataPtr memory = own_->allocate(bytes);
    if (unseen_bytes_.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed) +
            static_cast<int64_t>(bytes) <
        kBytesBetweenLooks) {
      return memory;
    }
    if (HasMemoryMargin() || HasMarginOnceFreedIsGivenBack()) {
      unseen_bytes_.store(0, std::memory_order_relaxed);
      return memory;
    }
    memory.clear();
    TORCH_CHECK(false, "can't allocate memory: with ", bytes, " bytes more, less than ",
                kMemoryMarginBytes, " would be left");
  }
  c10::DeleterFnPtr raw_deleter() const override { return own_->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t count) const override {
    default_copy_data(to, from, count);
  }

 private:
  c10::Allocator* const own_ = c10::GetDefaultCPUAllocator();
  // Asked for since it last looked.
  std::atomic<int64_t> unseen_bytes_ = 0;
};

}  // namespace

void KeepTensorsFromMemoryMargin() {
  // Tensors that live until the end need it.
  static auto* const allocator = new MarginAllocator;
  c10::SetCPUAllocator(allocator, kPriority);
}

}  // namespace amend
