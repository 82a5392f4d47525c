#ifndef AMEND_SERVER_TRACE_CONTEXT_H_
#define AMEND_SERVER_TRACE_CONTEXT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace amend {

// Where an RPC stands in a distributed trace (W3C Trace Context). Plain data; all in lower-case
// hex.
struct TraceContext {
  // 32 digits, not all zero: the same in every process that the trace passes.
  std::string trace_id;
  // 16 digits, not all zero: of one step.
  std::string span_id;
  // 2 digits; "01" where the caller samples the trace.
  std::string flags = "00";
};

// Reads "00-TRACE-SPAN-FLAGS", also of later versions. Nothing where it is malformed. Pure.
std::optional<TraceContext> ParseTraceparent(absl::string_view header);

// The text of version 00. Pure.
std::string TraceparentOf(const TraceContext& context);

// The context of a step that this process begins: within `caller`'s trace where there is one, else
// a trace of its own. `random` gives 64 random bits at each call.
TraceContext NewSpan(const std::optional<TraceContext>& caller,
                     const std::function<uint64_t()>& random);

}  // namespace amend

#endif  // AMEND_SERVER_TRACE_CONTEXT_H_
