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
// Adds google.rpc.PreconditionFailure with one violation.
absl::Status WithPreconditionFailure(absl::Status status, absl::string_view type,
                                     absl::string_view subject, absl::string_view description);
// The reason given by WithReason; empty without one.
std::string ReasonOf(const absl::Status& status);
// The reason in a status that ToGrpcStatus made; empty without one.
std::string ReasonOf(const grpc::Status& status);

// Whether a store said `status` because it cannot write or read just now (I/O, space), rather than
// because the request does not fit.
bool IsStoreTrouble(const absl::Status& status);
// A store's error as clients get it: trouble is UNAVAILABLE with reason STORE_READ_ONLY and a retry
// delay, DATA_LOSS has reason DIGEST_MISMATCH, and everything else stays as it is.
absl::Status FromStore(const absl::Status& status);

// The one place where a Status becomes what goes over the wire. A status without a reason gets its
// code's name as the reason.
google::rpc::Status ToRpcStatus(const absl::Status& status);
// The end of a call. It travels in trailers, which are short: a message that is too long is cut,
// and of the field violations the first ones are kept.
grpc::Status ToGrpcStatus(const absl::Status& status);
grpc::Status ToGrpcStatus(google::rpc::Status status);

}  // namespace amend

#endif  // AMEND_SERVER_ERRORS_H_
