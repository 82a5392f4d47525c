#ifndef AMEND_SERVER_ERRORS_H_
#define AMEND_SERVER_ERRORS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace amend {

// Domain of every google.rpc.ErrorInfo that this server sends.
inline constexpr absl::string_view kErrorDomain = "amend";

// `status` with a machine-readable reason ("LIVE_CHANGED") and metadata, kept as payload
// (google.rpc.ErrorInfo, AIP-193).
absl::Status WithReason(absl::Status status, absl::string_view reason,
                        std::vector<std::pair<std::string, std::string>> metadata = {});
// Adds google.rpc.RetryInfo.
absl::Status WithRetryDelay(absl::Status status, absl::Duration delay);
// Adds google.rpc.BadRequest with one violation per (field, description).
absl::Status WithFieldViolations(
    absl::Status status, const std::vector<std::pair<std::string, std::string>>& violations);
// The reason given by WithReason; empty without one.
std::string ReasonOf(const absl::Status& status);

// The one place where a Status becomes what goes over the wire. A status without a reason gets its
// code's name as the reason.
google::rpc::Status ToRpcStatus(const absl::Status& status);
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace amend

#endif  // AMEND_SERVER_ERRORS_H_
