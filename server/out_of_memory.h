#ifndef AMEND_SERVER_OUT_OF_MEMORY_H_
#define AMEND_SERVER_OUT_OF_MEMORY_H_

#include <type_traits>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace amend {

// An error of `core` as clients get it: RESOURCE_EXHAUSTED without a reason, which core says where
// memory could not be had, gets the reason OUT_OF_MEMORY and a retry delay. Everything else stays
// as it is.
absl::Status FromMemory(const absl::Status& status);

// Runs `work` at the entry of a thread or of a call and returns what it returns. Where it throws:
// RESOURCE_EXHAUSTED (OUT_OF_MEMORY), which names `what`, if memory ended; INTERNAL otherwise.
absl::Status CatchOutOfMemory(absl::string_view what, absl::FunctionRef<absl::Status()> work);

// The same for work that returns an absl::StatusOr.
template <typename Work>
std::invoke_result_t<const Work&> ResultOrOutOfMemory(absl::string_view what, const Work& work) {
  std::invoke_result_t<const Work&> result;
  const absl::Status caught = CatchOutOfMemory(what, [&] {
    result = work();
    return result.status();
  });
  if (!caught.ok()) result = caught;
  return result;
}

// RESOURCE_EXHAUSTED (OUT_OF_MEMORY) while memory is short: nothing new is to begin then, so that
// what runs can come to its end.
absl::Status CheckMemoryIsLeft();

}  // namespace amend

#endif  // AMEND_SERVER_OUT_OF_MEMORY_H_
