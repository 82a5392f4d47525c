#ifndef AMEND_SERVER_RPC_METHOD_H_
#define AMEND_SERVER_RPC_METHOD_H_

#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"

namespace amend {

// The method "/amend.v1.GenerationService/Generate", as a request's path names it; null for one
// that this program does not know. Thread-safe.
const google::protobuf::MethodDescriptor* FindRpcMethod(absl::string_view path);

}  // namespace amend

#endif  // AMEND_SERVER_RPC_METHOD_H_
