#include "core/base/torch_status.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/memory_reserve.h"

namespace amend {
namespace {

std::string FirstLine(absl::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

// LibTorch's CPU allocator reports exhaustion as a plain c10::Error; only its words tell.
bool IsHostMemory(const c10::Error& error) {
  return absl::StrContains(error.what_without_backtrace(), "can't allocate memory");
}

}  // namespace

absl::Status CatchTorch(absl::string_view what, absl::FunctionRef<absl::Status()> body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    ReleaseMemoryReserve();
    return absl::ResourceExhaustedError(absl::StrCat(what, ": out of memory"));
  } catch (const c10::OutOfMemoryError& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat(what, ": ", FirstLine(error.what_without_backtrace())));
  } catch (const c10::Error& error) {
    const bool memory = IsHostMemory(error);
    if (memory) ReleaseMemoryReserve();
    return absl::Status(memory ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kInternal,
                        absl::StrCat(what, ": ", FirstLine(error.what_without_backtrace())));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(what, ": ", FirstLine(error.what())));
  }
}

}  // namespace amend
