#ifndef AMEND_SERVER_SERVER_OPTIONS_H_
#define AMEND_SERVER_SERVER_OPTIONS_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "amend/v1/profile.pb.h"
#include "server/retention.h"
#include "server/security/security_options.h"

namespace amend {

class EventLog;

// What is bounded so that one client cannot take all there is.
struct ServingLimits {
  int max_running_sequences = 64;
  int max_waiting_sequences = 256;
  int max_prefill_tokens_per_step = 512;
  int max_unread_messages = 64;
  absl::Duration max_reader_pause = absl::Seconds(60);
  int default_max_new_tokens = 64;
  int max_batch_edits = 1000;
  int edit_credits = 16;
  int max_pending_batches = 1024;
  int max_pending_mib = 256;
};

// What a server is started with. Plain data. What can be given by a flag or in the file of --config
// has an entry in settings.cc.
struct ServerOptions {
  // A Hugging Face model directory.
  std::string model_directory;
  // Where everything durable is kept; made when it is not there.
  std::string data_directory;
  // Where backups of the store are kept; empty: this server makes none.
  std::string backup_directory;
  // Backups that stay there.
  int backups_kept = 7;
  // A text proto (amend.v1.Profile); empty: the built-in one that fits the model.
  std::string profile_file;
  // Takes the file's place. `profile_name` stands for it in messages.
  std::optional<v1::Profile> profile;
  std::string profile_name;
  // "HOST:PORT" of gRPC and of HTTP; port 0 takes a free one.
  std::string grpc_address = "127.0.0.1:50051";
  std::string http_address = "127.0.0.1:9464";
  // The console on the HTTP address: "auto" (only where that is of this machine alone), "on" or
  // "off".
  std::string console = "auto";
  // Names, besides IP addresses and localhost, under which browsers open it; commas between them.
  std::string console_hosts;
  // TLS, who may call, and AdminService's own address.
  SecurityOptions security;
  // "auto" (CUDA where there is one), "cpu" or "cuda".
  std::string device = "auto";
  // Whether decoding replays CUDA graphs. Needs the device cuda and a build that has them.
  bool cuda_graphs = false;
  // "float32" or "bfloat16".
  std::string dtype = "float32";
  // Of one operation of the model; 0 leaves it to LibTorch.
  int threads = 0;
  // The same while generating; 0: one for a small model, else as many as `threads` says.
  int decode_threads = 0;
  // MiB of the KV cache of all sequences; 0: see ModelDecodeBackend::DefaultCacheBytes.
  int kv_cache_mib = 0;
  // How long running generation may go on when the server shuts down.
  absl::Duration drain_time = absl::Seconds(10);
  // Which revisions may go.
  RetentionPolicy retention;
  // When the live revision is damaged: serve its newest intact ancestor and take no edits, instead
  // of not starting.
  bool serve_intact_ancestor = false;
  ServingLimits limits;
  // What is logged and how; see event_log.h.
  std::string log_level = "info";
  std::string log_format = "text";
  // Where these options came from; empty: from flags alone. For people.
  std::string config_file;
  // Reads flags and file anew, for a reload: INVALID_ARGUMENT or NOT_FOUND, naming what is wrong.
  // Null: there is nothing to reload.
  std::function<absl::Status(ServerOptions*)> reread;
  // Outlives the server. May be null: nothing is logged.
  EventLog* log = nullptr;
};

}  // namespace amend

#endif  // AMEND_SERVER_SERVER_OPTIONS_H_
