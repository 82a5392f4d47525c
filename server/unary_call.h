#ifndef AMEND_SERVER_UNARY_CALL_H_
#define AMEND_SERVER_UNARY_CALL_H_

#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "grpcpp/grpcpp.h"
#include "server/errors.h"
#include "server/out_of_memory.h"
#include "server/task_executor.h"

namespace amend {

// Answers a call at once, with `status`.
inline grpc::ServerUnaryReactor* FinishNow(grpc::CallbackServerContext* context,
                                           const absl::Status& status) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

// Answers a call with what `work` returns, which runs on the executor; with RESOURCE_EXHAUSTED
// (OUT_OF_MEMORY) where memory ends in it. Request and response live until then.
inline grpc::ServerUnaryReactor* FinishOnExecutor(grpc::CallbackServerContext* context,
                                                  TaskExecutor* executor,
                                                  std::function<absl::Status()> work) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const absl::Status submitted = executor->Submit([reactor, work = std::move(work)] {
    reactor->Finish(ToGrpcStatus(CatchOutOfMemory("answering a call", work)));
  });
  if (!submitted.ok()) reactor->Finish(ToGrpcStatus(submitted));
  return reactor;
}

}  // namespace amend

#endif  // AMEND_SERVER_UNARY_CALL_H_
