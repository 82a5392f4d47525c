#include "server/errors.h"

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

bool IsStoreTrouble(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
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
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status rpc = ToRpcStatus(status);
  return grpc::Status(static_cast<grpc::StatusCode>(rpc.code()), rpc.message(),
                      rpc.SerializeAsString());
}

}  // namespace amend
