#include "server/http_endpoint.h"

#include <httplib.h>

#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/host_port.h"

namespace amend {
namespace {

constexpr int kTimeoutSeconds = 5;
constexpr size_t kMaxPayloadBytes = 64 << 10;

HttpRequest FromLibrary(const httplib::Request& request) {
  HttpRequest out;
  out.method = request.method;
  out.path = request.path;
  out.query.insert(request.params.begin(), request.params.end());
  for (const auto& [name, value] : request.headers) {
    std::string& joined = out.headers[absl::AsciiStrToLower(name)];
    joined = joined.empty() ? value : absl::StrCat(joined, ", ", value);
  }
  out.body = request.body;
  return out;
}

void AddHandler(const HttpEndpoint::Options& options, httplib::Server* server) {
  const auto handle = [handler = options.handler](const httplib::Request& request,
                                                  httplib::Response& response) {
    const HttpReply reply = handler(FromLibrary(request));
    response.status = reply.status;
    response.set_content(reply.body, reply.content_type);
    for (const auto& [name, value] : reply.headers) response.set_header(name, value);
  };
  for (const std::string& path : options.handler_paths) {
    server->Get(path, handle);
    server->Post(path, handle);
  }
}

}  // namespace

struct HttpEndpoint::Listener {
  httplib::Server server;
  std::thread thread;
};

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(Options options) {
  AMEND_ASSIGN_OR_RETURN(HostPort where, ParseHostPort("HTTP", options.address));
  auto listener = std::make_unique<Listener>();
  httplib::Server& server = listener->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_read_timeout(kTimeoutSeconds);
  server.set_write_timeout(kTimeoutSeconds);
  server.set_keep_alive_timeout(kTimeoutSeconds);
  server.set_keep_alive_max_count(1);
  server.set_payload_max_length(kMaxPayloadBytes);
  // The library's default shares a port with whoever has it.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server.Get("/metrics", [text = std::move(options.metrics_text)](const httplib::Request&,
                                                                  httplib::Response& response) {
    response.set_content(text(), "text/plain; version=0.0.4; charset=utf-8");
  });
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  server.Get("/readyz", [ready = std::move(options.ready)](const httplib::Request&,
                                                           httplib::Response& response) {
    const bool is_ready = ready();
    response.status = is_ready ? 200 : 503;
    response.set_content(is_ready ? "ready\n" : "not ready\n", "text/plain");
  });
  AddHandler(options, &server);
  errno = 0;
  if (where.port == 0) {
    where.port = server.bind_to_any_port(where.host);
  } else if (!server.bind_to_port(where.host, where.port)) {
    where.port = -1;
  }
  if (where.port <= 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on the HTTP address ",
                                               options.address, ": ",
                                               errno == 0 ? "no such host" : std::strerror(errno)));
  }
  listener->thread = std::thread([&server] { server.listen_after_bind(); });
  // stop() has no effect before that.
  while (!server.is_running()) std::this_thread::yield();
  return std::unique_ptr<HttpEndpoint>(
      new HttpEndpoint(std::move(listener), absl::StrCat(where.host, ":", where.port)));
}

HttpEndpoint::HttpEndpoint(std::unique_ptr<Listener> listener, std::string address)
    : listener_(std::move(listener)), address_(std::move(address)) {}

HttpEndpoint::~HttpEndpoint() {
  listener_->server.stop();
  listener_->thread.join();
}

}  // namespace amend
