#ifndef AMEND_SERVER_HTTP_ENDPOINT_H_
#define AMEND_SERVER_HTTP_ENDPOINT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace amend {

// A small HTTP server for machines that watch this one: GET /metrics (Prometheus text), /healthz
// (200 while the process lives) and /readyz (200 while ready, else 503). Has two threads of its
// own; requests are bounded in size and time. Thread-safe.
class HttpEndpoint {
 public:
  struct Options {
    // "HOST:PORT"; port 0 takes a free one.
    std::string address;
    // Both are called from this endpoint's threads and are thread-safe. Required.
    std::function<std::string()> metrics_text;
    std::function<bool()> ready;
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
