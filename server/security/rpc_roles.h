#ifndef AMEND_SERVER_SECURITY_RPC_ROLES_H_
#define AMEND_SERVER_SECURITY_RPC_ROLES_H_

#include "absl/strings/string_view.h"
#include "amend/v1/policy.pb.h"

namespace amend {

// Who may call an RPC.
enum class RpcAccess {
  // Whoever reaches the port.
  kOpen,
  // Principals with the RPC's role.
  kByRole,
  // Nobody: it is not in the table.
  kClosed,
};

struct RpcRule {
  RpcAccess access = RpcAccess::kClosed;
  // With kByRole.
  v1::Role role = v1::ROLE_UNSPECIFIED;
};

// The one table that says which RPC needs which role. `method` is as in a request's path, without
// or with the first slash: "amend.v1.EditService/StreamEdits". Thread-safe.
RpcRule RuleOf(absl::string_view method);

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_RPC_ROLES_H_
