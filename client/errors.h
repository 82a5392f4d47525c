#ifndef AMEND_CLIENT_ERRORS_H_
#define AMEND_CLIENT_ERRORS_H_

#include <string>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace amend::client {

// The status of an RPC as absl::Status: same code and message, every error detail kept as a payload
// under its type URL. All functions here are thread-safe.
absl::Status FromGrpcStatus(const grpc::Status& status);

// The same for an error that came in band (EditBatchStatus.error).
absl::Status FromRpcStatus(const google::rpc::Status& status);

// Reason of the status' google.rpc.ErrorInfo, such as "EDIT_INVALID"; empty when it has none.
std::string ErrorReason(const absl::Status& status);

// True when the server was not reached or the connection broke: the error came from the transport,
// not from Amend (whose errors all carry an ErrorInfo).
bool IsConnectionLost(const absl::Status& status);

// For people, one line: "NOT_FOUND (REVISION_NOT_FOUND): revision 7 does not exist". Field
// violations of a BadRequest follow, separated by "; ".
std::string Describe(const absl::Status& status);

}  // namespace amend::client

#endif  // AMEND_CLIENT_ERRORS_H_
