#include "server/out_of_memory.h"

#include "absl/time/time.h"
#include "core/base/memory_reserve.h"
#include "core/base/torch_status.h"
#include "server/errors.h"

namespace amend {
namespace {

constexpr absl::Duration kRetryDelay = absl::Seconds(1);

}  // namespace

absl::Status FromMemory(const absl::Status& status) {
  if (!absl::IsResourceExhausted(status) || !ReasonOf(status).empty()) return status;
  return WithRetryDelay(WithReason(status, "OUT_OF_MEMORY"), kRetryDelay);
}

absl::Status CatchOutOfMemory(absl::string_view what, absl::FunctionRef<absl::Status()> work) {
  absl::Status returned;
  const absl::Status thrown = CatchTorch(what, [&] {
    returned = work();
    return absl::OkStatus();
  });
  return thrown.ok() ? returned : FromMemory(thrown);
}

absl::Status CheckMemoryIsLeft() {
  if (!MemoryIsShort()) return absl::OkStatus();
  return FromMemory(absl::ResourceExhaustedError(
      "the server is short of memory and begins nothing new until it has some again"));
}

}  // namespace amend
