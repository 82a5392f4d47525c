#ifndef AMEND_SERVER_HTTP_ENDPOINT_H_
#define AMEND_SERVER_HTTP_ENDPOINT_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/http_message.h"

namespace amend {

// A small HTTP server for machines that watch this one: GET /metrics (Prometheus text), /healthz
// (200 while the process lives) and /readyz (200 while ready, else 503). What else it answers is up
// to a handler. Thread-safe.
//
// Has kThreads threads of its own, one for each connection that is open; a connection is closed
// after its first answer, so that idle ones of browsers take no thread for long. Requests are
// bounded in size and time.
class HttpEndpoint {
 public:
  static constexpr int kThreads = 16;

  struct Options {
    // "HOST:PORT"; port 0 takes a free one.
    std::string address;
    // Both are called from this endpoint's threads and are thread-safe. Required.
    std::function<std::string()> metrics_text;
    std::function<bool()> ready;
    // GET and POST of paths that match one of these regular expressions as a whole, whose
    // repetitions are bounded (std::regex recurses), go to `handler`: as the two above, and it
    // occupies its thread until it returns. Leaves some of the threads to /healthz and /metrics by
    // itself.
    std::vector<std::string> handler_paths;
    std::function<HttpReply(const HttpRequest&)> handler;
  };

  // Listens when it returns. INVALID_ARGUMENT for an address that is not HOST:PORT; UNAVAILABLE,
  // naming the address, when it cannot be listened on (in use, no right).
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(Options options);
  // Stops listening and joins the threads.
  ~HttpEndpoint();

  // "HOST:PORT" with the port that is in use.
  const std::string& address() const { return address_; }

 private:
  struct Listener;
  HttpEndpoint(std::unique_ptr<Listener> listener, std::string address);

  const std::unique_ptr<Listener> listener_;
  const std::string address_;
};

}  // namespace amend

#endif  // AMEND_SERVER_HTTP_ENDPOINT_H_
