#include "server/settings.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/event_log.h"
#include "server/host_port.h"

namespace amend {
namespace {

constexpr double kMaxSeconds = 1e10;

using Target = std::function<SettingTarget(ServerOptions&)>;

template <typename Value>
Target At(Value ServerOptions::*member) {
  return [member](ServerOptions& options) -> SettingTarget { return &(options.*member); };
}

// Of a struct that the options hold.
template <typename Part, typename Value>
Target At(Part ServerOptions::*part, Value Part::*member) {
  return
      [part, member](ServerOptions& options) -> SettingTarget { return &(options.*part.*member); };
}

AllowedValues Any() { return {}; }
AllowedValues Address() { return {0, 0, {}, true}; }
AllowedValues OneOf(std::vector<std::string> choices) { return {0, 0, std::move(choices), false}; }
AllowedValues From(double min, double max) { return {min, max, {}, false}; }

constexpr bool kReloads = true;

Setting Reloads(Setting setting) {
  setting.reloads = true;
  return setting;
}

std::vector<Setting> MakeSettings() {
  using O = ServerOptions;
  using R = RetentionPolicy;
  using L = ServingLimits;
  using S = SecurityOptions;
  const auto limit = [](absl::string_view name, auto L::*member, double min, double max) {
    return Setting{absl::StrCat("limits.", name), "", "", At(&O::limits, member), From(min, max)};
  };
  return {
      {"model", "model", "Hugging Face model directory (required)", At(&O::model_directory), Any()},
      {"data", "data", "directory for everything durable (required)", At(&O::data_directory),
       Any()},
      {"backup_dir", "backup-dir", "directory for backups of the store (default: none are made)",
       At(&O::backup_directory), Any()},
      {"backups_kept", "backups-kept", "backups that stay; older ones go", At(&O::backups_kept),
       From(1, 10000)},
      {"profile_file", "profile",
       "how the model is edited, a text proto (default: built in for known models)",
       At(&O::profile_file), Any()},
      {"listen", "listen", "gRPC address; port 0 takes a free one", At(&O::grpc_address),
       Address()},
      {"http", "http", "address of /metrics, /healthz and /readyz", At(&O::http_address),
       Address()},
      {"console", "console",
       "the web page at --http: auto (on where that is a loopback address), on or off",
       At(&O::console), OneOf({"auto", "on", "off"})},
      {"console_hosts", "console-hosts",
       "names under which browsers open the page, besides IP addresses and localhost, with commas "
       "between",
       At(&O::console_hosts), Any()},
      {"tls_cert", "tls-cert",
       "the server's certificate and its chain, PEM; with --tls-key: TLS for gRPC",
       At(&O::security, &S::tls_certificate_file), Any()},
      {"tls_key", "tls-key", "the certificate's private key, PEM",
       At(&O::security, &S::tls_key_file), Any()},
      {"tls_client_ca", "tls-client-ca",
       "authorities of client certificates, PEM; clients have to show one",
       At(&O::security, &S::tls_client_ca_file), Any()},
      {"tls_client_cert_optional", "tls-client-cert-optional",
       "clients may show no certificate, to send a token instead",
       At(&O::security, &S::client_certificate_optional), Any()},
      {"policy", "policy", "who may call what, a text proto (default: nobody is asked)",
       At(&O::security, &S::policy_file), Any()},
      {"admin_listen", "admin-listen",
       "gRPC address of AdminService alone (default: it is at --listen)",
       At(&O::security, &S::admin_address), Any()},
      {"allow_insecure", "allow-insecure",
       "listen beyond the loopback address without TLS or without a policy",
       At(&O::security, &S::allow_insecure), Any()},
      {"security_reload_seconds", "security-reload-seconds",
       "how often certificates and policy are looked at for changes",
       At(&O::security, &S::reload_interval), From(0.01, 3600)},
      {"device", "device", "auto, cpu or cuda", At(&O::device), OneOf({"auto", "cpu", "cuda"})},
      {"cuda_graphs", "cuda-graphs",
       "decode with CUDA graphs, on the device cuda (compiled, not run yet)", At(&O::cuda_graphs),
       Any()},
      {"dtype", "dtype", "float32 or bfloat16", At(&O::dtype), OneOf({"float32", "bfloat16"})},
      {"threads", "threads", "threads of one operation; 0 lets LibTorch choose", At(&O::threads),
       From(0, 1024)},
      {"decode_threads", "decode-threads",
       "the same while generating; 0 is 1 for a small model, else --threads",
       At(&O::decode_threads), From(0, 1024)},
      {"kv_cache_mib", "kv-cache-mib",
       "MiB for keys and values of all sequences; 0: up to 1024, by the model's size",
       At(&O::kv_cache_mib), From(0, 1 << 24)},
      {"drain_seconds", "drain-seconds", "how long streams may go on at shutdown",
       At(&O::drain_time), From(0, 3600), kReloads},
      {"keep_revisions", "keep-revisions",
       "keep the newest N revisions; with --keep-seconds 0 too, 0 keeps all",
       At(&O::retention, &R::keep_newest), From(0, 2147483647), kReloads},
      {"keep_seconds", "keep-seconds", "keep revisions that are younger",
       At(&O::retention, &R::keep_younger), From(0, kMaxSeconds), kReloads},
      {"purge_delay_seconds", "purge-delay-seconds",
       "how long a deleted revision can be brought back", At(&O::retention, &R::purge_delay),
       From(0, kMaxSeconds), kReloads},
      {"serve_intact_ancestor", "serve-intact-ancestor",
       "when the live revision is damaged, serve its newest intact ancestor, without edits",
       At(&O::serve_intact_ancestor), Any()},
      {"log_level", "log-level", "debug, access (each RPC), info, warning or error",
       At(&O::log_level), OneOf(LogLevelNames()), kReloads},
      {"log_format", "log-format", "text or json, a line for each event on stderr",
       At(&O::log_format), OneOf({"text", "json"})},
      Reloads(limit("max_running_sequences", &L::max_running_sequences, 1, 4096)),
      Reloads(limit("max_waiting_sequences", &L::max_waiting_sequences, 1, 1e6)),
      limit("max_prefill_tokens_per_step", &L::max_prefill_tokens_per_step, 1, 1e6),
      limit("max_unread_messages", &L::max_unread_messages, 1, 1e6),
      limit("max_reader_pause_seconds", &L::max_reader_pause, 0.1, 86400),
      limit("default_max_new_tokens", &L::default_max_new_tokens, 1, 1e6),
      limit("max_batch_edits", &L::max_batch_edits, 1, 100000),
      limit("edit_credits", &L::edit_credits, 1, 10000),
      limit("max_pending_batches", &L::max_pending_batches, 1, 1e6),
      limit("max_pending_mib", &L::max_pending_mib, 8, 1 << 20),
  };
}

absl::Status NotAllowed(absl::string_view name, absl::string_view value, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(name, " is ", value, ", not ", what));
}

absl::Status SetString(const AllowedValues& allowed, absl::string_view name,
                       const std::string& value, std::string* target) {
  const auto& choices = allowed.choices;
  if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end()) {
    return NotAllowed(name, absl::StrCat("\"", value, "\""),
                      absl::StrCat("one of ", absl::StrJoin(choices, ", ")));
  }
  if (allowed.is_address && !ParseHostPort("listening", value).ok()) {
    return NotAllowed(name, absl::StrCat("\"", value, "\""), "HOST:PORT with a port of 0 to 65535");
  }
  *target = value;
  return absl::OkStatus();
}

}  // namespace

const std::vector<Setting>& Settings() {
  static const auto* const settings = new std::vector<Setting>(MakeSettings());
  return *settings;
}

absl::Status SetText(const Setting& setting, absl::string_view name, const std::string& value,
                     ServerOptions* options) {
  const SettingTarget target = setting.target(*options);
  if (auto* const* text = std::get_if<std::string*>(&target)) {
    return SetString(setting.allowed, name, value, *text);
  }
  if (auto* const* flag = std::get_if<bool*>(&target)) {
    if (absl::SimpleAtob(value, *flag)) return absl::OkStatus();
    return NotAllowed(name, absl::StrCat("\"", value, "\""), "true or false");
  }
  double number = 0;
  if (absl::SimpleAtod(value, &number)) return SetNumber(setting, name, number, options);
  return NotAllowed(name, absl::StrCat("\"", value, "\""), "a number");
}

absl::Status SetNumber(const Setting& setting, absl::string_view name, double value,
                       ServerOptions* options) {
  const AllowedValues& allowed = setting.allowed;
  // Not a number is in no range.
  if (!(value >= allowed.min && value <= allowed.max)) {
    return NotAllowed(name, absl::StrCat(value),
                      absl::StrCat("in ", allowed.min, " to ", static_cast<int64_t>(allowed.max)));
  }
  const SettingTarget target = setting.target(*options);
  if (auto* const* duration = std::get_if<absl::Duration*>(&target)) {
    **duration = absl::Seconds(value);
    return absl::OkStatus();
  }
  if (value != std::floor(value)) return NotAllowed(name, absl::StrCat(value), "a whole number");
  *std::get<int*>(target) = static_cast<int>(value);
  return absl::OkStatus();
}

std::string TextOf(const Setting& setting, ServerOptions& options) {
  struct Printer {
    std::string operator()(const std::string* text) const { return *text; }
    std::string operator()(const int* number) const { return absl::StrCat(*number); }
    std::string operator()(const bool* flag) const { return *flag ? "true" : "false"; }
    std::string operator()(const absl::Duration* duration) const {
      return absl::StrCat(absl::ToDoubleSeconds(*duration));
    }
  };
  return std::visit(Printer(), setting.target(options));
}

}  // namespace amend
