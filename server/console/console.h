#ifndef AMEND_SERVER_CONSOLE_CONSOLE_H_
#define AMEND_SERVER_CONSOLE_CONSOLE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "amend/v1/admin.pb.h"
#include "grpcpp/channel.h"
#include "server/http_message.h"

namespace amend {

// A page for people at the HTTP address, and the JSON that it reads; docs/console.md lists the
// paths. Read-only. Thread-safe.
//
// Each path of the API is one RPC, called on a channel into this process, in proto3's JSON: checks,
// limits, queues, metrics and errors are those of the RPC, and the request's Authorization header
// is its metadata, so that who may call it may use the path. At most `max_calls` run at once, of
// them `max_asks` of the model, each for a bounded time; one more is RESOURCE_EXHAUSTED
// (CONSOLE_BUSY). What a foreign web page could make a browser send is refused, see
// request_guard.h.
class Console {
 public:
  // What the server does now.
  struct Activity {
    int running = 0;
    int waiting = 0;
    // Share of the KV cache that is claimed, 0 to 1.
    double kv_cache_usage_ratio = 0;
    // Generated since the start; only grows.
    int64_t tokens = 0;
    int edit_queue_depth = 0;
  };
  struct Options {
    // Into the server's own services; null while it does not serve. Required, like the two below;
    // those are called only while there is a channel.
    std::function<std::shared_ptr<grpc::Channel>()> channel;
    std::function<v1::ServerInfo()> info;
    std::function<Activity()> activity;
    // Names, besides IP addresses and localhost, under which the page may be opened.
    std::vector<std::string> hosts;
    int max_calls = 8;
    int max_asks = 4;
    absl::Duration read_time = absl::Seconds(5);
    absl::Duration ask_time = absl::Seconds(30);
  };

  // Of what Handle answers: for HttpEndpoint::Options::handler_paths.
  static std::vector<std::string> Paths();

  explicit Console(Options options);

  // Blocks until the answer is there.
  HttpReply Handle(const HttpRequest& request);

 private:
  struct Call;

  HttpReply Api(const HttpRequest& request);
  HttpReply Status(const Call& call);
  HttpReply ListRevisions(const Call& call);
  HttpReply GetRevision(const Call& call);
  HttpReply ListAuditRecords(const Call& call);
  HttpReply Generate(const Call& call);

  const Options options_;
  std::atomic<int> calls_ = 0;
  std::atomic<int> asks_ = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_CONSOLE_CONSOLE_H_
