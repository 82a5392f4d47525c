#include "server/errors.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/any.pb.h"
#include "google/rpc/error_details.pb.h"

namespace amend {
namespace {

constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr char kRetryInfoUrl[] = "type.googleapis.com/google.rpc.RetryInfo";
constexpr char kPreconditionUrl[] = "type.googleapis.com/google.rpc.PreconditionFailure";
constexpr char kBadRequestUrl[] = "type.googleapis.com/google.rpc.BadRequest";

// gRPC takes trailers of 8 KiB in all, in base64 and with the message a second time.
constexpr size_t kMaxTrailerBytes = 3500;
constexpr size_t kMaxMessageBytes = 600;

constexpr absl::Duration kStoreRetryDelay = absl::Seconds(1);

// Text on the wire is ASCII or UTF-8; a message may quote bytes of a request that are neither.
std::string Printable(absl::string_view text) {
  std::string out;
  bool ascii = true;
  for (const char c : text) ascii = ascii && static_cast<unsigned char>(c) < 0x80;
  if (ascii) return std::string(text);
  google::protobuf::Any probe;
  probe.set_type_url(std::string(text));
  // The parser of proto3 checks the encoding of strings.
  google::protobuf::Any parsed;
  if (parsed.ParseFromString(probe.SerializeAsString())) return std::string(text);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out.push_back(c);
    } else {
      absl::StrAppend(&out, "\\x", absl::Hex(byte));
    }
  }
  return out;
}

google::rpc::ErrorInfo InfoOf(const absl::Status& status) {
  google::rpc::ErrorInfo info;
  if (const auto payload = status.GetPayload(kErrorInfoUrl)) {
    info.ParseFromString(std::string(*payload));
  }
  return info;
}

void Attach(absl::Status& status, absl::string_view url,
            const google::protobuf::MessageLite& message) {
  status.SetPayload(url, absl::Cord(message.SerializeAsString()));
}

// The first characters of a text that is valid UTF-8, at most so many bytes.
absl::string_view Beginning(absl::string_view text, size_t bytes) {
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
  size_t end = std::min(bytes, text.size());
  while (end > 0 && end < text.size() && continues(text[end])) --end;
  return text.substr(0, end);
}

// Makes the status short by leaving out the last field violations.
void DropViolations(google::rpc::Status& status) {
  for (google::protobuf::Any& detail : *status.mutable_details()) {
    google::rpc::BadRequest request;
    if (!detail.UnpackTo(&request)) continue;
    auto& violations = *request.mutable_field_violations();
    while (!violations.empty() && status.ByteSizeLong() > kMaxTrailerBytes) {
      // By halves: there may be many.
      violations.DeleteSubrange(violations.size() / 2, violations.size() - violations.size() / 2);
      detail.PackFrom(request);
    }
  }
}

}  // namespace

absl::Status WithReason(absl::Status status, absl::string_view reason,
                        std::vector<std::pair<std::string, std::string>> metadata) {
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(reason));
  info.set_domain(std::string(kErrorDomain));
  for (auto& [key, value] : metadata) (*info.mutable_metadata())[key] = Printable(value);
  Attach(status, kErrorInfoUrl, info);
  return status;
}

absl::Status WithRetryDelay(absl::Status status, absl::Duration delay) {
  google::rpc::RetryInfo retry;
  const int64_t seconds = absl::ToInt64Seconds(delay);
  retry.mutable_retry_delay()->set_seconds(seconds);
  retry.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(delay - absl::Seconds(seconds))));
  Attach(status, kRetryInfoUrl, retry);
  return status;
}

absl::Status WithFieldViolations(
    absl::Status status, const std::vector<std::pair<std::string, std::string>>& violations) {
  google::rpc::BadRequest request;
  for (const auto& [field, description] : violations) {
    google::rpc::BadRequest::FieldViolation& violation = *request.add_field_violations();
    violation.set_field(Printable(field));
    violation.set_description(Printable(description));
  }
  Attach(status, kBadRequestUrl, request);
  return status;
}

absl::Status WithPreconditionFailure(absl::Status status, absl::string_view type,
                                     absl::string_view subject, absl::string_view description) {
  google::rpc::PreconditionFailure failure;
  google::rpc::PreconditionFailure::Violation& violation = *failure.add_violations();
  violation.set_type(Printable(type));
  violation.set_subject(Printable(subject));
  violation.set_description(Printable(description));
  Attach(status, kPreconditionUrl, failure);
  return status;
}

std::string ReasonOf(const absl::Status& status) { return InfoOf(status).reason(); }

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (!details.ParseFromString(status.error_details()) || details.details().empty()) return "";
  // It comes first: see ToRpcStatus.
  return details.details(0).UnpackTo(&info) ? info.reason() : "";
}

bool IsStoreTrouble(const absl::Status& status) {
  // What has a reason was said by somebody else: no store gives any.
  if (absl::IsResourceExhausted(status)) return ReasonOf(status).empty();
  return absl::IsUnavailable(status);
}

absl::Status FromStore(const absl::Status& status) {
  if (IsStoreTrouble(status)) {
    return WithRetryDelay(WithReason(absl::UnavailableError(status.message()), "STORE_READ_ONLY"),
                          kStoreRetryDelay);
  }
  if (absl::IsDataLoss(status)) return WithReason(status, "DIGEST_MISMATCH");
  return status;
}

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status out;
  out.set_code(static_cast<int>(status.code()));
  if (status.ok()) return out;
  out.set_message(Printable(status.message()));
  if (ReasonOf(status).empty()) {
    return ToRpcStatus(WithReason(status, absl::StatusCodeToString(status.code())));
  }
  // The reason comes first, whatever order the payloads are kept in.
  for (const bool info_turn : {true, false}) {
    status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
      if ((url == kErrorInfoUrl) != info_turn) return;
      google::protobuf::Any& detail = *out.add_details();
      detail.set_type_url(std::string(url));
      detail.set_value(std::string(payload));
    });
  }
  return out;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  return status.ok() ? grpc::Status::OK : ToGrpcStatus(ToRpcStatus(status));
}

grpc::Status ToGrpcStatus(google::rpc::Status status) {
  if (status.message().size() > kMaxMessageBytes) {
    status.set_message(absl::StrCat(Beginning(status.message(), kMaxMessageBytes), "..."));
  }
  if (status.ByteSizeLong() > kMaxTrailerBytes) DropViolations(status);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), status.message(),
                      status.SerializeAsString());
}

}  // namespace amend
