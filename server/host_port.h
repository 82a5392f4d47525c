#ifndef AMEND_SERVER_HOST_PORT_H_
#define AMEND_SERVER_HOST_PORT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace amend {

// Where to listen.
struct HostPort {
  // A name or an address; an IPv6 address keeps its brackets.
  std::string host;
  // 0 .. 65535; 0 takes a free one.
  int port = 0;
};

// Reads "HOST:PORT". INVALID_ARGUMENT, naming the address and `what` it is for ("gRPC"), otherwise.
absl::StatusOr<HostPort> ParseHostPort(absl::string_view what, absl::string_view address);

// Whether only this machine reaches a listener at `host`: "localhost", 127.0.0.0/8 or ::1, with or
// without brackets. Other names are not looked up, they are not. Thread-safe.
bool IsLoopback(absl::string_view host);

// UNAVAILABLE, naming the gRPC address and the cause, where it cannot be listened on now;
// INVALID_ARGUMENT as above. gRPC itself does not say why, and says it late. Thread-safe.
absl::Status CheckListenable(const std::string& address);

}  // namespace amend

#endif  // AMEND_SERVER_HOST_PORT_H_
