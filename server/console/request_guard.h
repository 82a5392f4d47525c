#ifndef AMEND_SERVER_CONSOLE_REQUEST_GUARD_H_
#define AMEND_SERVER_CONSOLE_REQUEST_GUARD_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/http_message.h"

namespace amend {

// Keeps foreign web pages in an operator's browser away from the console. Pure function.
//
// PERMISSION_DENIED, naming what was sent:
//  - HOST_NOT_ALLOWED: the Host header is neither an IP address nor "localhost" nor one of `hosts`,
//    so that a foreign name was made to resolve to this server (DNS rebinding).
//  - ORIGIN_NOT_ALLOWED: the browser says that a page of another origin asks (Origin,
//    Sec-Fetch-Site).
// INVALID_ARGUMENT (INVALID_REQUEST) for a POST that is not application/json: any page may send the
// types of forms without asking.
absl::Status CheckRequest(const HttpRequest& request, const std::vector<std::string>& hosts);

}  // namespace amend

#endif  // AMEND_SERVER_CONSOLE_REQUEST_GUARD_H_
