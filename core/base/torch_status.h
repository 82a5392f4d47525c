#ifndef AMEND_CORE_BASE_TORCH_STATUS_H_
#define AMEND_CORE_BASE_TORCH_STATUS_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace amend {

// Runs `body` and turns a C++ exception that LibTorch throws (the only exceptions in this program)
// into a Status: RESOURCE_EXHAUSTED for memory, INTERNAL otherwise, with `what` and LibTorch's own
// first line in the message. Where the host's memory ended, it releases the memory reserve first.
absl::Status CatchTorch(absl::string_view what, absl::FunctionRef<absl::Status()> body);

}  // namespace amend

#endif  // AMEND_CORE_BASE_TORCH_STATUS_H_
