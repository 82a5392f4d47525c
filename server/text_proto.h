#ifndef AMEND_SERVER_TEXT_PROTO_H_
#define AMEND_SERVER_TEXT_PROTO_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "google/protobuf/text_format.h"

namespace amend {

// Reads a text proto. INVALID_ARGUMENT, "NAME: line 3, column 5: WHY", where it is none of this
// message: a field that it does not have, a value of another type, a field given twice. `locations`
// (may be null) learns where each field stands. Thread-safe.
absl::Status ParseTextProto(absl::string_view name, const std::string& text,
                            google::protobuf::Message* message,
                            google::protobuf::TextFormat::ParseInfoTree* locations = nullptr);

// The bytes of a file. NOT_FOUND, "cannot read WHAT PATH", where that fails.
absl::StatusOr<std::string> ReadTextFile(absl::string_view what, const std::string& path);

}  // namespace amend

#endif  // AMEND_SERVER_TEXT_PROTO_H_
