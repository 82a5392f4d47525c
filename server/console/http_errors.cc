#include "server/console/http_errors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/errors.h"

namespace amend {
namespace {

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kAlreadyExists:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

}  // namespace

HttpReply ErrorReply(const grpc::Status& status) {
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  nlohmann::json error = {{"status", absl::StatusCodeToString(code)},
                          {"message", status.error_message()},
                          {"reason", absl::StatusCodeToString(code)},
                          {"metadata", nlohmann::json::object()}};
  HttpReply reply;
  reply.status = HttpStatusOf(code);
  error["code"] = reply.status;
  google::rpc::Status rpc;
  rpc.ParseFromString(status.error_details());
  for (const google::protobuf::Any& detail : rpc.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::RetryInfo retry;
    if (detail.UnpackTo(&info)) {
      error["reason"] = info.reason();
      for (const auto& [key, value] : info.metadata()) error["metadata"][key] = value;
    } else if (detail.UnpackTo(&retry)) {
      const int64_t seconds =
          retry.retry_delay().seconds() + (retry.retry_delay().nanos() > 0 ? 1 : 0);
      reply.headers.emplace_back("Retry-After", absl::StrCat(std::max<int64_t>(seconds, 1)));
    }
  }
  if (reply.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  reply.content_type = "application/json";
  // What is no UTF-8 is replaced: a message may have any bytes.
  reply.body = nlohmann::json{{"error", error}}.dump(-1, ' ', false,
                                                     nlohmann::json::error_handler_t::replace);
  return reply;
}

HttpReply ErrorReply(const absl::Status& status) { return ErrorReply(ToGrpcStatus(status)); }

}  // namespace amend
