#ifndef AMEND_SERVER_HTTP_MESSAGE_H_
#define AMEND_SERVER_HTTP_MESSAGE_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace amend {

// What a client asks over HTTP. Plain data.
struct HttpRequest {
  // "GET" or "POST".
  std::string method;
  // Percent-decoded, without the query.
  std::string path;
  // Of a key that comes twice the first value.
  std::map<std::string, std::string> query;
  // Names in lower case; the values of a name that comes twice are joined by ", ".
  std::map<std::string, std::string> headers;
  std::string body;

  // Empty where there is no such header. `name` in lower case.
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

// What it is answered. Plain data.
struct HttpReply {
  int status = 200;
  std::string content_type;
  std::string body;
  // Besides Content-Type and Content-Length.
  std::vector<std::pair<std::string, std::string>> headers;
};

}  // namespace amend

#endif  // AMEND_SERVER_HTTP_MESSAGE_H_
