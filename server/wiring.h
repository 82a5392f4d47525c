#ifndef AMEND_SERVER_WIRING_H_
#define AMEND_SERVER_WIRING_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/reload.h"
#include "server/server_options.h"

namespace amend {

// A whole server: model, store, editing, generation, gRPC and HTTP. Thread-safe.
class Server {
 public:
  // Loads the model, opens the store (or makes it), recovers what was live, and serves when it
  // returns. /healthz answers from the beginning, /readyz says 503 until the end. An error names
  // what is wrong and where; nothing durable was changed then.
  static absl::StatusOr<std::unique_ptr<Server>> Start(ServerOptions options);
  // Like Shutdown.
  ~Server();

  // With the ports that are in use.
  const std::string& grpc_address() const;
  const std::string& http_address() const;
  // Where AdminService is: that of gRPC unless it has its own.
  const std::string& admin_address() const;
  // "amendd ready: grpc 127.0.0.1:50051, http ..., model demo (gpt2, 6 layers, cpu, float32), live
  // revision 3"
  const std::string& ready_line() const;

  // Reads flags and file again and takes what can change while it runs; all or nothing: an error
  // (INVALID_ARGUMENT or NOT_FOUND, naming what is wrong; UNAVAILABLE, RESOURCE_EXHAUSTED) changes
  // nothing. Either way it is logged.
  absl::StatusOr<ReloadReport> Reload();

  // Says that it is not serving any more, lets running generation finish (see drain_time), stops
  // solving (what is durable is solved after the next start) and closes the listeners.
  void Shutdown() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);

  const std::unique_ptr<Parts> parts_;
  absl::Mutex mutex_;
  bool down_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace amend

#endif  // AMEND_SERVER_WIRING_H_
