#include "server/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/process_memory.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/metric_family.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"
#include "server/memory_limit.h"

namespace amend {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using Buckets = Histogram::BucketBoundaries;

// Seconds.
const Buckets& TokenBuckets() {
  static const auto* const buckets =
      new Buckets{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
  return *buckets;
}
const Buckets& RequestBuckets() {
  static const auto* const buckets =
      new Buckets{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300};
  return *buckets;
}
const Buckets& SyncBuckets() {
  static const auto* const buckets =
      new Buckets{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5};
  return *buckets;
}
const Buckets& EditBuckets() {
  static const auto* const buckets =
      new Buckets{.001, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900};
  return *buckets;
}
const Buckets& BatchBuckets() {
  static const auto* const buckets = new Buckets{1, 2, 4, 8, 16, 32, 64, 128};
  return *buckets;
}

const Buckets& ShareBuckets() {
  static const auto* const buckets = new Buckets{0, .01, .05, .1, .25, .5, .75, 1};
  return *buckets;
}

const char* Name(EditStage stage) {
  switch (stage) {
    case EditStage::kTarget:
      return "target";
    case EditStage::kKeys:
      return "keys";
    case EditStage::kSolve:
      return "solve";
    case EditStage::kGate:
      return "gate";
    case EditStage::kPersist:
      return "persist";
    case EditStage::kPublish:
      return "publish";
  }
  return "unknown";
}

const char* Name(GateCheck check) {
  switch (check) {
    case GateCheck::kReliability:
      return "reliability";
    case GateCheck::kGenerality:
      return "generality";
    case GateCheck::kLocality:
      return "locality";
    case GateCheck::kBackground:
      return "background";
    case GateCheck::kFluency:
      return "fluency";
    case GateCheck::kRetention:
      return "retention";
    case GateCheck::kFinite:
      return "finite";
  }
  return "unknown";
}

const char* Name(BatchOutcome outcome) {
  switch (outcome) {
    case BatchOutcome::kLive:
      return "live";
    case BatchOutcome::kValidated:
      return "validated";
    case BatchOutcome::kRejected:
      return "rejected";
    case BatchOutcome::kFailed:
      return "failed";
    case BatchOutcome::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

// Of edits that the gate made be left out of their batch.
constexpr char kDropped[] = "dropped";

// Of a rollback.
constexpr char kByRequest[] = "request";

const char* Name(PromotionResult result) {
  switch (result) {
    case PromotionResult::kMoved:
      return "moved";
    case PromotionResult::kConflict:
      return "conflict";
    case PromotionResult::kRefused:
      return "refused";
    case PromotionResult::kFailed:
      return "failed";
  }
  return "unknown";
}

const char* Name(SecurityFile file) {
  switch (file) {
    case SecurityFile::kTls:
      return "tls";
    case SecurityFile::kPolicy:
      return "policy";
  }
  return "unknown";
}

const char* ReloadResult(bool taken) { return taken ? "ok" : "failed"; }

prometheus::MetricFamily Plain(const std::string& name, const std::string& help,
                               prometheus::MetricType type, double value) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  family.metric.resize(1);
  family.metric[0].gauge.value = value;
  family.metric[0].counter.value = value;
  return family;
}

// Entries of a directory of the proc file system, or 0.
int CountEntries(const char* directory) {
  DIR* dir = opendir(directory);
  if (dir == nullptr) return 0;
  int count = 0;
  while (const dirent* entry = readdir(dir)) count += entry->d_name[0] != '.' ? 1 : 0;
  closedir(dir);
  // The directory itself is open meanwhile.
  return std::max(count - 1, 0);
}

double ProcessStartSeconds() {
  std::ifstream stat("/proc/self/stat");
  std::string line;
  std::getline(stat, line);
  // Field 22, counted from behind the name, which may hold spaces.
  std::istringstream rest(line.substr(std::min(line.size(), line.rfind(')') + 1)));
  std::string field;
  for (int i = 3; i <= 22; ++i) rest >> field;
  double boot = 0;
  std::ifstream boot_stat("/proc/stat");
  for (std::string key; boot_stat >> key;) {
    if (key == "btime") boot_stat >> boot;
  }
  double ticks = 0;
  std::istringstream(field) >> ticks;
  return boot + ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// The process_* metrics of every Prometheus client.
void AppendProcess(std::vector<prometheus::MetricFamily>* families) {
  using prometheus::MetricType;
  static const double start = ProcessStartSeconds();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + t.tv_usec * 1e-6;
  };
  double virtual_pages = 0;
  std::ifstream("/proc/self/statm") >> virtual_pages;
  const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  families->push_back(Plain("process_cpu_seconds_total", "User and system CPU time.",
                            MetricType::Counter,
                            seconds(usage.ru_utime) + seconds(usage.ru_stime)));
  families->push_back(Plain("process_resident_memory_bytes", "Resident memory.", MetricType::Gauge,
                            static_cast<double>(ResidentBytes())));
  families->push_back(Plain("amend_memory_limit_bytes", "Memory that this process may have.",
                            MetricType::Gauge, static_cast<double>(ReadMemoryLimit().bytes)));
  families->push_back(Plain("process_virtual_memory_bytes", "Virtual memory.", MetricType::Gauge,
                            virtual_pages * page));
  families->push_back(Plain("process_open_fds", "Open file descriptors.", MetricType::Gauge,
                            CountEntries("/proc/self/fd")));
  families->push_back(Plain("process_max_fds", "Limit of open file descriptors.", MetricType::Gauge,
                            static_cast<double>(files.rlim_cur)));
  families->push_back(
      Plain("process_threads", "Threads.", MetricType::Gauge, CountEntries("/proc/self/task") + 1));
  families->push_back(Plain("process_start_time_seconds", "Start, in seconds since the Unix epoch.",
                            MetricType::Gauge, start));
}

std::map<std::string, std::string> RpcLabels(absl::string_view type, absl::string_view service,
                                             absl::string_view method) {
  return {{"grpc_type", std::string(type)},
          {"grpc_service", std::string(service)},
          {"grpc_method", std::string(method)}};
}

}  // namespace

struct Metrics::Families {
  prometheus::Registry registry;

  Family<Counter>& CounterFamily(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
  }
  Family<Gauge>& GaugeFamily(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
  }
  Family<Histogram>& HistogramFamily(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
  }

  // Edits.
  Family<Counter>& batches =
      CounterFamily("amend_edit_batches_total", "Edit batches that reached a terminal stage.");
  Family<Counter>& edits = CounterFamily("amend_edits_total", "Edits of those batches.");
  Gauge& queue_depth =
      GaugeFamily("amend_edit_queue_depth", "Batches that are durable and not finished.").Add({});
  Gauge& queue_age = GaugeFamily("amend_edit_queue_oldest_age_seconds",
                                 "Age of the oldest unfinished batch; 0 without one.")
                         .Add({});
  Family<Histogram>& stages =
      HistogramFamily("amend_edit_stage_duration_seconds", "Duration of one stage of one batch.");
  Family<Gauge>& scores =
      GaugeFamily("amend_gate_score",
                  "One check over the last batch, in [0, 1]; fluency: relative change of "
                  "perplexity.");
  Family<Counter>& gate_rejections =
      CounterFamily("amend_gate_rejections_total", "Batches that one check turned down.");
  Family<Counter>& promotions =
      CounterFamily("amend_promotions_total", "Promotions, by request or after validation.");
  Family<Counter>& withdrawn =
      CounterFamily("amend_edits_withdrawn_total", "Edits that were to be taken back.");
  Family<Counter>& rollbacks = CounterFamily("amend_rollbacks_total", "Labels moved back.");
  Histogram& time_to_live = HistogramFamily("amend_edit_time_to_live_seconds",
                                            "From receipt of a batch until generation uses it.")
                                .Add({}, EditBuckets());
  Family<Gauge>& norms =
      GaugeFamily("amend_hook_update_norm_ratio",
                  "Norm of a layer's update on the live line over that of its base weight.");
  Family<Gauge>& live = GaugeFamily("amend_live_revision_info", "The revision that is live.");

  // Serving.
  Gauge& running = GaugeFamily("amend_num_requests_running", "Requests in the batch.").Add({});
  Gauge& waiting = GaugeFamily("amend_num_requests_waiting", "Requests in the queue.").Add({});
  Gauge& kv_cache =
      GaugeFamily("amend_kv_cache_usage_ratio", "Share of the KV cache that running requests hold.")
          .Add({});
  Counter& preemptions =
      CounterFamily("amend_preemptions_total",
                    "Times that a running request gave up its KV cache for another one.")
          .Add({});
  Histogram& first_token = HistogramFamily("amend_time_to_first_token_seconds",
                                           "From acceptance of a request to its first token.")
                               .Add({}, RequestBuckets());
  Histogram& inter_token =
      HistogramFamily("amend_inter_token_latency_seconds", "Time between tokens of one request.")
          .Add({}, TokenBuckets());
  Histogram& request_duration =
      HistogramFamily("amend_request_duration_seconds", "From acceptance of a request to its end.")
          .Add({}, RequestBuckets());
  Counter& prompt_tokens =
      CounterFamily("amend_prompt_tokens_total", "Prompt tokens of ended requests.").Add({});
  Counter& cached_tokens =
      CounterFamily("amend_prompt_tokens_cached_total",
                    "Prompt tokens of ended requests that were in the KV cache already.")
          .Add({});
  Counter& partly_cached_tokens =
      CounterFamily("amend_prompt_tokens_partly_cached_total",
                    "Prompt tokens of ended requests of which the KV cache had the layers below "
                    "the first edited one alone.")
          .Add({});
  Counter& generation_tokens =
      CounterFamily("amend_generation_tokens_total", "Generated tokens of ended requests.").Add({});
  Family<Counter>& requests = CounterFamily("amend_requests_total", "Requests that ended.");
  Histogram& batch_size =
      HistogramFamily("amend_batch_size", "Sequences in one forward pass.").Add({}, BatchBuckets());
  Histogram& hook_fired =
      HistogramFamily("amend_hook_fired_ratio",
                      "Share of the tokens in one forward pass at which an edit fired.")
          .Add({}, ShareBuckets());
  Family<Counter>& rejections =
      CounterFamily("amend_rejections_total", "Generation requests that were turned away.");

  // Store, RPC, build.
  Histogram& store_sync = HistogramFamily("amend_store_sync_duration_seconds",
                                          "Duration of one synced write of the store.")
                              .Add({}, SyncBuckets());
  Family<Counter>& store_errors =
      CounterFamily("amend_store_errors_total", "Operations of the store that failed.");
  Counter& store_write_errors = store_errors.Add({{"kind", "write"}});
  Counter& store_read_errors = store_errors.Add({{"kind", "read"}});
  Counter& store_background_errors = store_errors.Add({{"kind", "background"}});
  Counter& digest_mismatches =
      CounterFamily("amend_store_digest_mismatches_total",
                    "Values that are not what was written, or are missing: found by a read or a "
                    "verification.")
          .Add({});
  Family<Gauge>& store_bytes = GaugeFamily(
      "amend_store_bytes", "What a column family takes in files that are in use and in memory.");
  Counter& store_stalls =
      CounterFamily("amend_store_stall_seconds_total",
                    "How long RocksDB held writes up because files were not merged fast enough.")
          .Add({});
  Gauge& store_writes_stopped =
      GaugeFamily("amend_store_writes_stopped", "1 while RocksDB holds all writes up.").Add({});
  Gauge& store_read_only =
      GaugeFamily("amend_store_read_only", "1 while the store takes no writes.").Add({});
  Gauge& recovery = GaugeFamily("amend_recovery_seconds",
                                "How long reading and verifying the store took at the last start.")
                        .Add({});
  Family<Counter>& rpc_started =
      CounterFamily("grpc_server_started_total", "RPCs that began on the server.");
  Family<Counter>& rpc_handled =
      CounterFamily("grpc_server_handled_total", "RPCs that ended on the server.");
  Family<Histogram>& rpc_seconds =
      HistogramFamily("grpc_server_handling_seconds", "Duration of RPCs on the server.");

  // Security.
  Family<Counter>& security_reloads =
      CounterFamily("amend_security_reloads_total", "Certificates and policies read again.");
  Family<Gauge>& security_refused = GaugeFamily(
      "amend_security_file_refused", "1 while the file on disk is refused and an older one holds.");
  Gauge& certificate_expiry =
      GaugeFamily("amend_tls_certificate_expiry_timestamp_seconds",
                  "When the server's certificate expires, in seconds since the Unix epoch; 0 "
                  "without TLS.")
          .Add({});

  Family<Gauge>& build = GaugeFamily("amend_build_info", "What runs here; always 1.");

  std::atomic<int64_t> tokens = 0;

  mutable absl::Mutex mutex;
  absl::Time oldest_batch ABSL_GUARDED_BY(mutex) = absl::InfinitePast();
  Gauge* live_now ABSL_GUARDED_BY(mutex) = nullptr;
};

Metrics::Metrics() : families_(std::make_unique<Families>()) {
  // Series that are there from the start, at 0, so that rates see the first event.
  for (const auto outcome : {BatchOutcome::kLive, BatchOutcome::kValidated, BatchOutcome::kRejected,
                             BatchOutcome::kFailed, BatchOutcome::kCancelled}) {
    families_->batches.Add({{"outcome", Name(outcome)}});
    families_->edits.Add({{"outcome", Name(outcome)}});
  }
  families_->edits.Add({{"outcome", kDropped}});
  for (const auto outcome :
       {BatchOutcome::kLive, BatchOutcome::kValidated, BatchOutcome::kRejected}) {
    families_->withdrawn.Add({{"outcome", Name(outcome)}});
  }
  for (const auto stage : {EditStage::kTarget, EditStage::kKeys, EditStage::kSolve,
                           EditStage::kGate, EditStage::kPersist, EditStage::kPublish}) {
    families_->stages.Add({{"stage", Name(stage)}}, EditBuckets());
  }
  for (const auto check :
       {GateCheck::kReliability, GateCheck::kGenerality, GateCheck::kLocality,
        GateCheck::kBackground, GateCheck::kFluency, GateCheck::kRetention, GateCheck::kFinite}) {
    families_->gate_rejections.Add({{"check", Name(check)}});
  }
  for (const auto result : {PromotionResult::kMoved, PromotionResult::kConflict,
                            PromotionResult::kRefused, PromotionResult::kFailed}) {
    families_->promotions.Add({{"result", Name(result)}});
  }
  families_->rollbacks.Add({{"trigger", kByRequest}});
  for (const auto file : {SecurityFile::kTls, SecurityFile::kPolicy}) {
    families_->security_refused.Add({{"file", Name(file)}});
    for (const bool taken : {true, false}) {
      families_->security_reloads.Add({{"file", Name(file)}, {"result", ReloadResult(taken)}});
    }
  }
}

Metrics::~Metrics() = default;

std::string Metrics::Text(absl::Time now) const {
  {
    absl::MutexLock lock(&families_->mutex);
    const absl::Time oldest = families_->oldest_batch;
    const bool none = oldest == absl::InfinitePast();
    families_->queue_age.Set(none ? 0 : std::max(0.0, absl::ToDoubleSeconds(now - oldest)));
  }
  std::vector<prometheus::MetricFamily> families = families_->registry.Collect();
  AppendProcess(&families);
  return prometheus::TextSerializer().Serialize(families);
}

void Metrics::SetBuildInfo(absl::string_view version, absl::string_view architecture,
                           absl::string_view device, absl::string_view dtype) {
  families_->build
      .Add({{"version", std::string(version)},
            {"architecture", std::string(architecture)},
            {"device", std::string(device)},
            {"dtype", std::string(dtype)}})
      .Set(1);
}

void Metrics::StoreSynced(absl::Duration duration, bool ok) {
  families_->store_sync.Observe(absl::ToDoubleSeconds(duration));
  if (!ok) families_->store_write_errors.Increment();
}

void Metrics::StoreReadFailed() { families_->store_read_errors.Increment(); }

void Metrics::StoreBackgroundFailed() { families_->store_background_errors.Increment(); }

void Metrics::StoreDamaged(int64_t values) {
  families_->digest_mismatches.Increment(static_cast<double>(values));
}

void Metrics::SetStoreUsage(const StoreUsage& usage) {
  for (const StoreUsage::Family& family : usage.families) {
    families_->store_bytes.Add({{"column_family", family.name}})
        .Set(static_cast<double>(family.bytes));
  }
  families_->store_writes_stopped.Set(usage.writes_stopped ? 1 : 0);
  absl::MutexLock lock(&families_->mutex);
  const double more = usage.stall_seconds - families_->store_stalls.Value();
  if (more > 0) families_->store_stalls.Increment(more);
}

void Metrics::StoreReadOnly(bool read_only) { families_->store_read_only.Set(read_only ? 1 : 0); }

void Metrics::Recovered(absl::Duration duration) {
  families_->recovery.Set(absl::ToDoubleSeconds(duration));
}

void Metrics::RpcStarted(absl::string_view type, absl::string_view service,
                         absl::string_view method) {
  families_->rpc_started.Add(RpcLabels(type, service, method)).Increment();
}

void Metrics::RpcHandled(absl::string_view type, absl::string_view service,
                         absl::string_view method, absl::string_view code,
                         absl::Duration duration) {
  auto labels = RpcLabels(type, service, method);
  families_->rpc_seconds.Add(labels, RequestBuckets()).Observe(absl::ToDoubleSeconds(duration));
  labels["grpc_code"] = std::string(code);
  families_->rpc_handled.Add(labels).Increment();
}

void Metrics::BatchFinished(BatchOutcome outcome, int edit_count) {
  families_->batches.Add({{"outcome", Name(outcome)}}).Increment();
  families_->edits.Add({{"outcome", Name(outcome)}}).Increment(edit_count);
}

void Metrics::EditsDropped(int edit_count) {
  families_->edits.Add({{"outcome", kDropped}}).Increment(edit_count);
}

void Metrics::QueueChanged(int depth, absl::Time oldest_receive_time) {
  families_->queue_depth.Set(depth);
  absl::MutexLock lock(&families_->mutex);
  families_->oldest_batch = oldest_receive_time;
}

void Metrics::StageDone(EditStage stage, absl::Duration duration) {
  families_->stages.Add({{"stage", Name(stage)}}, EditBuckets())
      .Observe(absl::ToDoubleSeconds(duration));
}

void Metrics::GateScore(GateCheck check, double score) {
  families_->scores.Add({{"check", Name(check)}}).Set(score);
}

void Metrics::GateRejected(GateCheck check) {
  families_->gate_rejections.Add({{"check", Name(check)}}).Increment();
}

void Metrics::Promoted(PromotionResult result) {
  families_->promotions.Add({{"result", Name(result)}}).Increment();
}

void Metrics::EditsWithdrawn(BatchOutcome outcome, int edit_count) {
  families_->withdrawn.Add({{"outcome", Name(outcome)}}).Increment(edit_count);
}

void Metrics::RolledBack() { families_->rollbacks.Add({{"trigger", kByRequest}}).Increment(); }

void Metrics::EditTimeToLive(absl::Duration duration) {
  families_->time_to_live.Observe(absl::ToDoubleSeconds(duration));
}

void Metrics::UpdateNormRatio(LayerIndex layer, double ratio) {
  families_->norms.Add({{"layer", absl::StrCat(layer.value())}}).Set(ratio);
}

void Metrics::LiveRevisionChanged(Revision live) {
  absl::MutexLock lock(&families_->mutex);
  Gauge& now = families_->live.Add({{"revision", absl::StrCat(live.value())}});
  now.Set(1);
  if (families_->live_now != nullptr && families_->live_now != &now) {
    families_->live.Remove(families_->live_now);
  }
  families_->live_now = &now;
}

void Metrics::OnSequences(int running, int waiting) {
  families_->running.Set(running);
  families_->waiting.Set(waiting);
}

void Metrics::OnKvCache(int64_t claimed, int64_t capacity) {
  families_->kv_cache.Set(capacity > 0 ? static_cast<double>(claimed) / capacity : 0);
}

void Metrics::OnStep(int rows) { families_->batch_size.Observe(rows); }

void Metrics::OnHooks(int64_t tokens, int64_t fired) {
  families_->hook_fired.Observe(static_cast<double>(fired) / static_cast<double>(tokens));
}

Metrics::Serving Metrics::serving() const {
  return {families_->kv_cache.Value(), families_->tokens.load(std::memory_order_relaxed)};
}

void Metrics::OnPreemption() { families_->preemptions.Increment(); }

void Metrics::OnFirstToken(absl::Duration since_submit) {
  families_->tokens.fetch_add(1, std::memory_order_relaxed);
  families_->first_token.Observe(absl::ToDoubleSeconds(since_submit));
}

void Metrics::OnInterToken(absl::Duration since_last_token) {
  families_->tokens.fetch_add(1, std::memory_order_relaxed);
  families_->inter_token.Observe(absl::ToDoubleSeconds(since_last_token));
}

void Metrics::OnRequestEnd(const RequestEnd& end) {
  families_->requests.Add({{"finish_reason", std::string(end.finish_reason)}}).Increment();
  families_->request_duration.Observe(absl::ToDoubleSeconds(end.duration));
  families_->prompt_tokens.Increment(end.prompt_tokens);
  families_->cached_tokens.Increment(end.cached_tokens);
  families_->partly_cached_tokens.Increment(end.partly_cached_tokens);
  families_->generation_tokens.Increment(end.generated_tokens);
}

void Metrics::SecurityFileChanged(SecurityFile file, bool taken) {
  families_->security_reloads.Add({{"file", Name(file)}, {"result", ReloadResult(taken)}})
      .Increment();
  families_->security_refused.Add({{"file", Name(file)}}).Set(taken ? 0 : 1);
}

void Metrics::CertificateExpires(absl::Time expiry) {
  families_->certificate_expiry.Set(absl::ToDoubleSeconds(expiry - absl::UnixEpoch()));
}

void Metrics::OnRejection(absl::string_view reason) {
  families_->rejections.Add({{"reason", std::string(reason)}}).Increment();
}

}  // namespace amend
