#include "server/wiring.h"

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "core/base/status_macros.h"
#include "core/editing/background_factors.h"
#include "core/editing/batch_editor.h"
#include "core/editing/edit_validation.h"
#include "core/editing/merged_checkpoint.h"
#include "core/generation/cuda_graphs.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"
#include "grpc/health/v1/health.pb.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "server/admin_service.h"
#include "server/batch_traces.h"
#include "server/config_file.h"
#include "server/console/console.h"
#include "server/coordinator.h"
#include "server/edit_event_hub.h"
#include "server/edit_foundation.h"
#include "server/edit_intake.h"
#include "server/edit_service.h"
#include "server/event_log.h"
#include "server/export_stream.h"
#include "server/generation_service.h"
#include "server/host_port.h"
#include "server/http_endpoint.h"
#include "server/metrics.h"
#include "server/model_decode_backend.h"
#include "server/model_edit_engine.h"
#include "server/observed_store.h"
#include "server/revision_event_hub.h"
#include "server/revision_service.h"
#include "server/rpc_log.h"
#include "server/rpc_metrics.h"
#include "server/scheduler.h"
#include "server/security/access_interceptor.h"
#include "server/security/authorizer.h"
#include "server/security/call_context.h"
#include "server/security/guarded_api.h"
#include "server/security/listener_check.h"
#include "server/security/security_files.h"
#include "server/server_plan.h"
#include "server/serving_model.h"
#include "server/settings.h"
#include "server/solver_cache.h"
#include "server/store_log.h"
#include "server/task_executor.h"
#include "server/unreadable_request.h"
#include "server/validation_gate.h"
#include "server/version.h"
#include "storage/rocksdb_backups.h"
#include "storage/rocksdb_revision_store.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

// For RPCs that are neither generation nor edits once those have ended.
constexpr absl::Duration kLastCalls = absl::Milliseconds(500);

// Verifications and backups that wait for the one that runs.
constexpr int kMaxMaintenanceQueued = 8;

absl::Status MakeDataDirectory(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot make the data directory ", path, ": ", error.message()));
  }
  if (!fs::is_directory(path, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the data directory ", path, " is not a directory"));
  }
  return absl::OkStatus();
}

// Counts and logs what the store does.
class StoreWatcher final : public StoreObserver {
 public:
  StoreWatcher(Metrics* metrics, EventLog* log, BatchTraces* traces,
               std::function<void(bool, absl::string_view)> on_read_only)
      : metrics_(metrics), log_(log), traces_(traces), on_read_only_(std::move(on_read_only)) {}
  void OnSync(double seconds, bool ok) override {
    metrics_->StoreSynced(absl::Seconds(seconds), ok);
  }
  void OnBackgroundError() override { metrics_->StoreBackgroundFailed(); }
  void OnReadOnly(bool read_only, absl::string_view why) override {
    metrics_->StoreReadOnly(read_only);
    on_read_only_(read_only, why);
  }
  void OnLedger(const LedgerEntry& entry) override {
    LogBatch(entry, traces_->TraceOf(entry.key), log_);
    if (IsTerminal(entry.state)) traces_->Forget(entry.key);
  }
  void OnAudit(const AuditRecord& record) override { LogAudit(record, log_); }

 private:
  Metrics* const metrics_;
  EventLog* const log_;
  BatchTraces* const traces_;
  const std::function<void(bool, absl::string_view)> on_read_only_;
};

// Below this the products of one decoded token are too short to share: waking a second core costs
// more than it brings (docs/performance.md).
constexpr int64_t kSmallModelParameters = 20'000'000;

// While others want the cores this thread gets a tenth of what each of them gets, and so do the
// compute threads that it starts: batches are solved in the time that decoding leaves.
void GiveWay() {
  constexpr int kNice = 10;
  // Where it fails, batches are solved as if nobody decoded.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
}

EventLog::Options Quiet() {
  EventLog::Options options;
  options.write = [](absl::string_view) {};
  return options;
}

int DecodeThreads(const ServerOptions& options, const CausalLm& model) {
  if (options.decode_threads > 0) return options.decode_threads;
  return model.ParameterCount() < kSmallModelParameters ? 1 : ComputeThreads();
}

}  // namespace

// In the order of construction: what is below uses what is above.
struct Server::Parts {
  explicit Parts(ServerOptions o)
      : options(std::move(o)),
        current(options),
        quiet(Quiet()),
        log(options.log == nullptr ? &quiet : options.log),
        progress([this](absl::string_view text) {
          log->Write(LogLevel::kInfo, "progress", {{"message", std::string(text)}});
        }),
        store_watcher(&metrics, log, &traces,
                      [this](bool read_only, auto why) { OnReadOnly(read_only, why); }) {}
  ~Parts() {
    // Its threads look at what is below.
    http.reset();
    for (const auto& server : servers()) server->Shutdown();
  }

  absl::Status Listen();
  void BuildConsole();
  absl::Status LoadSecurity();
  absl::Status LoadModel();
  absl::Status OpenStore();
  std::unique_ptr<ValidationGate> BuildGate() const;
  absl::Status OpenBackups();
  absl::Status BuildEditing(EditFoundation foundation, BackgroundFactors background);
  void BuildGeneration();
  void BuildExports();
  void BuildServices();
  v1::ServerInfo FixedInfo() const;
  absl::Status StartGrpc();
  // Listens at `address`, and says in it which port that is.
  absl::StatusOr<std::unique_ptr<grpc::Server>> StartServer(
      std::string* address, absl::Span<GuardedService* const> services);
  // Those that listen.
  std::vector<grpc::Server*> servers() const;
  void SetServing(bool serving) ABSL_LOCKS_EXCLUDED(health_mutex);
  // Called by threads of the store.
  void OnReadOnly(bool read_only, absl::string_view why) ABSL_LOCKS_EXCLUDED(health_mutex);
  void ReportHealth() ABSL_EXCLUSIVE_LOCKS_REQUIRED(health_mutex);
  // In the background, until `closing`.
  void ReclaimSpace();
  // Sets what a reload may have changed.
  void RefreshInfo(v1::ServerInfo* info) ABSL_LOCKS_EXCLUDED(reload_mutex);
  v1::GetConfigResponse ConfigNow() ABSL_LOCKS_EXCLUDED(reload_mutex);
  absl::StatusOr<ReloadReport> Reload() ABSL_LOCKS_EXCLUDED(reload_mutex);
  absl::StatusOr<ReloadReport> TryReload() ABSL_EXCLUSIVE_LOCKS_REQUIRED(reload_mutex);
  // Takes no new work; what runs goes on.
  void Drain() ABSL_LOCKS_EXCLUDED(drain_mutex);

  const ServerOptions options;
  absl::Mutex reload_mutex;
  // As they are after reloads.
  ServerOptions current ABSL_GUARDED_BY(reload_mutex);
  v1::Profile current_profile ABSL_GUARDED_BY(reload_mutex);
  EventLog quiet;
  EventLog* const log;
  const std::function<void(absl::string_view)> progress;
  absl::Mutex drain_mutex;
  const absl::Time start_time = absl::Now();
  std::atomic<bool> ready = false;
  std::atomic<bool> closing = false;
  absl::Mutex health_mutex;
  bool serves ABSL_GUARDED_BY(health_mutex) = false;
  bool read_only ABSL_GUARDED_BY(health_mutex) = false;
  Metrics metrics;
  BatchTraces traces;
  StoreWatcher store_watcher;
  // From `ready` on.
  std::shared_ptr<grpc::Channel> console_channel;
  // Null when there is none.
  std::unique_ptr<Console> console;
  Authorizer authorizer;
  std::unique_ptr<SecurityFiles> security;
  std::unique_ptr<HttpEndpoint> http;

  std::shared_ptr<const CausalLm> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string fingerprint;
  EditProfile profile;
  std::vector<std::string> background_texts;
  EditSettings settings;
  GenerationLimits limits;
  std::unique_ptr<RocksDbRevisionStore> store;
  // `store`, as all others use it.
  std::unique_ptr<ObservedStore> observed_store;
  std::unique_ptr<StoreBackups> backups;

  std::unique_ptr<ServingModel> serving;
  std::unique_ptr<ModelEditEngine> engine;
  EditEventHub hub;
  RevisionEventHub changes;
  std::unique_ptr<Coordinator> coordinator;
  std::unique_ptr<EditIntake> intake;
  std::unique_ptr<TaskExecutor> executor;
  // For what reads or copies the whole store.
  std::unique_ptr<TaskExecutor> maintenance;
  // For merging weights.
  std::unique_ptr<TaskExecutor> export_executor;
  ExportStream::Environment exports;
  std::unique_ptr<ModelDecodeBackend> backend;
  std::unique_ptr<Scheduler> scheduler;

  std::unique_ptr<EditService> edit_service;
  std::unique_ptr<RevisionService> revision_service;
  std::unique_ptr<GenerationService> generation_service;
  std::unique_ptr<AdminService> admin_service;
  // One for each: reflection lists a service that is registered by the name of one of its methods.
  GuardedService guarded_edit, guarded_revision, guarded_generation, guarded_admin;
  std::unique_ptr<grpc::Server> grpc_server;
  // Null where AdminService is at the address of the others.
  std::unique_ptr<grpc::Server> admin_server;
  std::string grpc_address;
  std::string admin_address;
  std::string ready_line;
  // The live revision is, and an ancestor serves.
  bool damaged = false;
};

absl::Status Server::Parts::Listen() {
  AMEND_RETURN_IF_ERROR(CheckListeners(options.security, options.grpc_address));
  AMEND_RETURN_IF_ERROR(CheckListenable(options.grpc_address));
  AMEND_ASSIGN_OR_RETURN(const HostPort where, ParseHostPort("HTTP", options.http_address));
  if (!options.security.admin_address.empty()) {
    AMEND_RETURN_IF_ERROR(CheckListenable(options.security.admin_address));
  }
  AMEND_RETURN_IF_ERROR(LoadSecurity());
  HttpEndpoint::Options http_options;
  http_options.address = options.http_address;
  http_options.metrics_text = [this] {
    if (ready) metrics.SetStoreUsage(store->Usage());
    return metrics.Text(absl::Now());
  };
  http_options.ready = [this] { return ready.load(); };
  if (options.console == "on" || (options.console == "auto" && IsLoopback(where.host))) {
    AMEND_RETURN_IF_ERROR(CheckConsole(options.security, options.http_address));
    BuildConsole();
    http_options.handler_paths = Console::Paths();
    http_options.handler = [this](const HttpRequest& request) { return console->Handle(request); };
  }
  AMEND_ASSIGN_OR_RETURN(http, HttpEndpoint::Start(std::move(http_options)));
  return absl::OkStatus();
}

void Server::Parts::BuildConsole() {
  Console::Options console_options;
  console_options.channel = [this] { return ready ? console_channel : nullptr; };
  console_options.info = [this] { return FixedInfo(); };
  console_options.activity = [this] {
    const Metrics::Serving now = metrics.serving();
    return Console::Activity{scheduler->running(), scheduler->waiting(), now.kv_cache_usage_ratio,
                             now.tokens, coordinator->depth()};
  };
  console_options.hosts = absl::StrSplit(options.console_hosts, ',', absl::SkipEmpty());
  console = std::make_unique<Console>(std::move(console_options));
}

absl::Status Server::Parts::LoadSecurity() {
  SecurityFiles::Options security_options;
  security_options.files = options.security;
  security_options.authorizer = &authorizer;
  security_options.observer = &metrics;
  security_options.progress = progress;
  AMEND_ASSIGN_OR_RETURN(security, SecurityFiles::Load(std::move(security_options)));
  security->Watch();
  return absl::OkStatus();
}

absl::Status Server::Parts::LoadModel() {
  if (options.threads > 0) SetComputeThreads(options.threads);
  AMEND_ASSIGN_OR_RETURN(ServerPlan plan, PlanServer(options));
  profile = std::move(plan.profile);
  background_texts = std::move(plan.background_texts);
  tokenizer = std::move(plan.tokenizer);
  {
    absl::MutexLock lock(&reload_mutex);
    current_profile = profile.proto;
  }
  AMEND_ASSIGN_OR_RETURN(model, LoadCausalLm(options.model_directory, plan.load));
  AMEND_ASSIGN_OR_RETURN(fingerprint, ModelFingerprint(options.model_directory));
  limits =
      MakeGenerationLimits(plan.config.context_length, plan.config.vocabulary_size, *tokenizer);
  limits.default_max_new_tokens = options.limits.default_max_new_tokens;
  return absl::OkStatus();
}

absl::Status Server::Parts::OpenStore() {
  AMEND_RETURN_IF_ERROR(MakeDataDirectory(options.data_directory));
  RocksDbRevisionStore::Options store_options;
  store_options.path = (fs::path(options.data_directory) / std::string(kStoreFolder)).string();
  store_options.observer = &store_watcher;
  AMEND_ASSIGN_OR_RETURN(store, RocksDbRevisionStore::Open(store_options));
  observed_store = std::make_unique<ObservedStore>(
      store.get(),
      ObservedStore::Options{[this] { metrics.StoreReadFailed(); },
                             [this](int64_t values) { metrics.StoreDamaged(values); }});
  FoundationOptions foundation_options;
  foundation_options.model_directory = options.model_directory;
  foundation_options.model_name = NameOfModel(options.model_directory);
  foundation_options.model_fingerprint = fingerprint;
  foundation_options.data_directory = options.data_directory;
  foundation_options.progress = progress;
  // Before the store is made: a covariance that cannot be solved with is better replaced then.
  BackgroundFactors background;
  foundation_options.accept = [&](const EditFoundation& foundation) -> absl::Status {
    const SolverCacheOptions cache{options.data_directory, foundation.covariance_digest, progress};
    AMEND_ASSIGN_OR_RETURN(
        background, ObtainBackgroundFactors(foundation.settings, foundation.covariance, cache));
    return absl::OkStatus();
  };
  AMEND_ASSIGN_OR_RETURN(
      EditFoundation foundation,
      LayFoundation(model, *tokenizer, profile, foundation_options, observed_store.get()));
  return BuildEditing(std::move(foundation), std::move(background));
}

std::unique_ptr<ValidationGate> Server::Parts::BuildGate() const {
  ValidationGate::Options gate;
  gate.enforced = profile.gate_enforced;
  gate.context_templates = settings.context_templates;
  gate.background_texts = background_texts;
  gate.max_tokens_per_text = profile.max_tokens_per_background_text;
  return std::make_unique<ValidationGate>(model, tokenizer, gate);
}

absl::Status Server::Parts::OpenBackups() {
  if (options.backup_directory.empty()) return absl::OkStatus();
  RocksDbBackups::Options backup_options;
  backup_options.directory = options.backup_directory;
  backup_options.keep = options.backups_kept;
  backup_options.store = store.get();
  AMEND_ASSIGN_OR_RETURN(backups, RocksDbBackups::Open(backup_options));
  return absl::OkStatus();
}

absl::Status Server::Parts::BuildEditing(EditFoundation foundation, BackgroundFactors background) {
  settings = foundation.settings;
  AMEND_ASSIGN_OR_RETURN(
      auto editor,
      BatchEditor::Create(model, tokenizer, std::move(foundation.settings), std::move(background)));
  serving = std::make_unique<ServingModel>(model, settings.beta);
  engine = std::make_unique<ModelEditEngine>(model, std::move(editor), BuildGate());
  Coordinator::Options coordinator_options;
  coordinator_options.withdrawal_thresholds = profile.gate_thresholds;
  const auto set_threads = [threads = ComputeThreads()] { SetComputeThreads(threads); };
  coordinator_options.on_thread_start = set_threads;
  coordinator_options.on_solver_thread_start = [set_threads] {
    set_threads();
    GiveWay();
  };
  coordinator_options.retention = options.retention;
  coordinator_options.on_purged = [this] { ReclaimSpace(); };
  coordinator_options.serve_intact_ancestor = options.serve_intact_ancestor;
  coordinator =
      std::make_unique<Coordinator>(observed_store.get(), engine.get(), serving.get(), &hub,
                                    &changes, &metrics, std::move(coordinator_options));
  // Factors are taken over piece by piece, each too small to share: a second compute thread would
  // only spin beside the threads that read.
  const int threads = ComputeThreads();
  SetComputeThreads(1);
  const absl::Cleanup restore_threads = [threads] { SetComputeThreads(threads); };
  const absl::Time recovery_start = absl::Now();
  AMEND_ASSIGN_OR_RETURN(const RecoveryReport recovered, coordinator->Recover());
  const absl::Duration recovery = absl::Now() - recovery_start;
  metrics.Recovered(recovery);
  log->Write(LogLevel::kInfo, "recovered",
             {{"seconds", absl::ToDoubleSeconds(recovery)},
              {"live", recovered.served.value()},
              {"latest_revision", store->LatestRevision().value()},
              {"batches_to_solve", int64_t{coordinator->depth()}}});
  damaged = !recovered.damage.ok();
  for (const std::string& skipped : recovered.skipped) {
    log->Write(LogLevel::kError, "revision_not_served", {{"message", skipped}});
  }
  return absl::OkStatus();
}

void Server::Parts::BuildGeneration() {
  Decoder::Options decoder_options;
  // In ascending order; no revision of the store edits others.
  decoder_options.first_edited_layer = settings.layers.front();
  decoder_options.kv_cache_bytes =
      options.kv_cache_mib > 0
          ? int64_t{options.kv_cache_mib} << 20
          : ModelDecodeBackend::DefaultCacheBytes(*model, decoder_options.first_edited_layer);
  if (options.cuda_graphs) decoder_options.graph_recorder = NewCudaGraphRecorder();
  backend = std::make_unique<ModelDecodeBackend>(model, decoder_options);
  Scheduler::Options scheduler_options;
  const ServingLimits& bounds = options.limits;
  scheduler_options.max_running_sequences = bounds.max_running_sequences;
  scheduler_options.max_waiting_sequences = bounds.max_waiting_sequences;
  scheduler_options.max_prefill_tokens_per_step = bounds.max_prefill_tokens_per_step;
  scheduler_options.max_reader_pause = bounds.max_reader_pause;
  scheduler_options.context_length = model->config().context_length;
  scheduler_options.end_of_text_ids = model->config().end_of_text_ids;
  scheduler_options.token_bytes = [this](TokenId id) { return tokenizer->TokenBytes(id); };
  scheduler_options.observer = &metrics;
  scheduler_options.on_thread_start = [threads = DecodeThreads(options, *model)] {
    SetComputeThreads(threads);
  };
  scheduler = std::make_unique<Scheduler>(backend.get(), std::move(scheduler_options));
}

void Server::Parts::BuildExports() {
  export_executor = std::make_unique<TaskExecutor>(TaskExecutor::Options());
  exports.serving = serving.get();
  exports.executor = export_executor.get();
  exports.model_fingerprint = fingerprint;
  exports.open = [this](const Snapshot& snapshot,
                        bool projections_only) -> absl::StatusOr<ExportSource> {
    // On the executor's thread: the other cores are for those who wait for tokens.
    SetComputeThreads(1);
    MergedCheckpoint::Options merged;
    merged.model_directory = options.model_directory;
    merged.model_fingerprint = fingerprint;
    merged.revision = snapshot.revision;
    merged.projections_only = projections_only;
    AMEND_ASSIGN_OR_RETURN(std::unique_ptr<MergedCheckpoint> made,
                           MergedCheckpoint::Create(merged, *model, snapshot.hooks));
    const std::shared_ptr<MergedCheckpoint> checkpoint = std::move(made);
    return ExportSource{checkpoint->files(), [checkpoint] { return checkpoint->Next(); }};
  };
}

void Server::Parts::BuildServices() {
  const CheckEdits check_edits = [this](absl::Span<const Edit> edits) {
    return ValidateEdits(*tokenizer, settings, model->config().context_length, edits);
  };
  executor = std::make_unique<TaskExecutor>(TaskExecutor::Options());
  maintenance = std::make_unique<TaskExecutor>(TaskExecutor::Options{1, kMaxMaintenanceQueued});
  EditIntake::Options intake_options;
  intake_options.max_pending_batches = options.limits.max_pending_batches;
  intake_options.max_pending_bytes = int64_t{options.limits.max_pending_mib} << 20;
  intake_options.max_batch_edits = options.limits.max_batch_edits;
  intake_options.traces = &traces;
  intake = std::make_unique<EditIntake>(observed_store.get(), check_edits, &hub, coordinator.get(),
                                        &metrics, intake_options);
  EditService::Options edit_options;
  edit_options.credits = options.limits.edit_credits;
  edit_options.max_batch_edits = options.limits.max_batch_edits;
  edit_options.default_thresholds = profile.gate_thresholds;
  edit_service =
      std::make_unique<EditService>(intake.get(), coordinator.get(), observed_store.get(),
                                    executor.get(), check_edits, edit_options);
  revision_service = std::make_unique<RevisionService>(coordinator.get(), observed_store.get(),
                                                       &changes, executor.get(), &exports);
  GenerationService::Options generation;
  generation.resolve_revision = [this](Revision revision) { return serving->Resolve(revision); };
  generation.resolve_label = [this](absl::string_view label) { return serving->Resolve(label); };
  generation.tokenizer = tokenizer.get();
  generation.scheduler = scheduler.get();
  generation.limits = limits;
  generation.max_stream_messages = options.limits.max_unread_messages;
  generation.observer = &metrics;
  generation_service = std::make_unique<GenerationService>(std::move(generation));
  AdminService::Options admin;
  admin.fixed = FixedInfo();
  admin.store = observed_store.get();
  admin.executor = executor.get();
  admin.maintenance = maintenance.get();
  admin.backups = backups.get();
  admin.edit_queue_depth = [this] { return coordinator->depth(); };
  admin.running_sequences = [this] { return scheduler->running(); };
  admin.waiting_sequences = [this] { return scheduler->waiting(); };
  admin.refresh = [this](v1::ServerInfo* info) { RefreshInfo(info); };
  admin.config = [this] { return ConfigNow(); };
  admin.reload = [this]() -> absl::StatusOr<v1::ReloadConfigResponse> {
    AMEND_ASSIGN_OR_RETURN(const ReloadReport report, Reload());
    v1::ReloadConfigResponse response;
    response.mutable_changed_fields()->Assign(report.changed.begin(), report.changed.end());
    response.mutable_fields_that_need_a_restart()->Assign(report.need_restart.begin(),
                                                          report.need_restart.end());
    return response;
  };
  admin.drain = [this] { Drain(); };
  admin.log = log;
  admin_service = std::make_unique<AdminService>(std::move(admin));
}

v1::ServerInfo Server::Parts::FixedInfo() const {
  const ModelConfig& config = model->config();
  v1::ServerInfo info;
  info.set_version(kVersion);
  v1::ModelInfo* out = info.mutable_model();
  out->set_architecture(config.architecture);
  out->set_name(NameOfModel(options.model_directory));
  out->set_fingerprint(fingerprint);
  out->set_layers(config.layers);
  out->set_hidden_size(config.hidden_size);
  out->set_intermediate_size(config.intermediate_size);
  out->set_vocabulary_size(config.vocabulary_size);
  out->set_context_length(config.context_length);
  out->set_parameters(model->ParameterCount());
  out->set_dtype(options.dtype);
  out->set_device(model->load_options().device == Device::kCuda ? "cuda" : "cpu");
  v1::Limits* server_limits = info.mutable_limits();
  server_limits->set_max_batch_edits(options.limits.max_batch_edits);
  server_limits->set_edit_credits(options.limits.edit_credits);
  server_limits->set_default_max_new_tokens(limits.default_max_new_tokens);
  server_limits->set_kv_cache_tokens(backend->cache_capacity());
  info.mutable_start_time()->set_seconds(absl::ToUnixSeconds(start_time));
  info.set_http_address(http->address());
  return info;
}

void Server::Parts::RefreshInfo(v1::ServerInfo* info) {
  absl::MutexLock lock(&reload_mutex);
  *info->mutable_profile() = current_profile;
  v1::Limits* const now = info->mutable_limits();
  now->set_max_running_sequences(current.limits.max_running_sequences);
  now->set_max_waiting_sequences(current.limits.max_waiting_sequences);
}

v1::GetConfigResponse Server::Parts::ConfigNow() {
  v1::GetConfigResponse response;
  response.set_config_file(options.config_file);
  for (const Setting& setting : Settings()) {
    if (setting.reloads) response.add_reloadable_fields(setting.field);
  }
  absl::MutexLock lock(&reload_mutex);
  *response.mutable_config() = ConfigOf(current);
  return response;
}

absl::StatusOr<ReloadReport> Server::Parts::Reload() {
  absl::MutexLock lock(&reload_mutex);
  absl::StatusOr<ReloadReport> report = TryReload();
  if (report.ok()) {
    log->Write(LogLevel::kInfo, "reloaded",
               {{"changed", absl::StrJoin(report->changed, " ")},
                {"need_restart", absl::StrJoin(report->need_restart, " ")}});
  } else {
    log->Write(LogLevel::kError, "reload_failed",
               {{"message", std::string(report.status().message())}});
  }
  return report;
}

absl::StatusOr<ReloadReport> Server::Parts::TryReload() {
  ServerOptions wanted = options;
  if (options.reread) AMEND_RETURN_IF_ERROR(options.reread(&wanted));
  AMEND_ASSIGN_OR_RETURN(const EditProfile chosen, ChooseProfile(wanted, model->config()));
  // What may be refused comes first.
  ServerOptions next = current;
  ReloadReport report = TakeReloadable(wanted, &next);
  v1::Profile next_profile = current_profile;
  TakeThresholds(chosen.proto, &next_profile, &report);
  const GateThresholds thresholds = ThresholdsOf(next_profile.gate());
  AMEND_RETURN_IF_ERROR(coordinator->SetPolicies(thresholds, next.retention));
  edit_service->SetDefaultThresholds(thresholds);
  scheduler->SetLimits(next.limits.max_running_sequences, next.limits.max_waiting_sequences);
  AMEND_ASSIGN_OR_RETURN(const LogLevel level, ParseLogLevel(next.log_level));
  log->SetLevel(level);
  current = std::move(next);
  current_profile = std::move(next_profile);
  return report;
}

void Server::Parts::Drain() {
  SetServing(false);
  log->Write(LogLevel::kInfo, "draining",
             {{"running", int64_t{scheduler->running()}},
              {"waiting", int64_t{scheduler->waiting()}},
              {"batches_to_solve", int64_t{coordinator->depth()}}});
  scheduler->Drain();
  absl::MutexLock lock(&drain_mutex);
  intake->Stop();
}

absl::Status Server::Parts::StartGrpc() {
  grpc::EnableDefaultHealthCheckService(true);
  // Links the health service's descriptor, which gRPC's own implementation lacks, for reflection.
  grpc::health::v1::HealthCheckRequest::descriptor();
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  const bool admin_apart = !options.security.admin_address.empty();
  AddGuarded(edit_service.get(), &guarded_edit);
  AddGuarded(revision_service.get(), &guarded_revision);
  AddGuarded(generation_service.get(), &guarded_generation);
  AddGuarded(admin_service.get(), &guarded_admin);
  std::vector<GuardedService*> services = {&guarded_edit, &guarded_revision, &guarded_generation};
  if (!admin_apart) services.push_back(&guarded_admin);
  grpc_address = options.grpc_address;
  AMEND_ASSIGN_OR_RETURN(grpc_server, StartServer(&grpc_address, services));
  console_channel = grpc_server->InProcessChannel(grpc::ChannelArguments());
  if (!admin_apart) return absl::OkStatus();
  admin_address = options.security.admin_address;
  AMEND_ASSIGN_OR_RETURN(admin_server, StartServer(&admin_address, {&guarded_admin}));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<grpc::Server>> Server::Parts::StartServer(
    std::string* address, absl::Span<GuardedService* const> services) {
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  int port = 0;
  builder.AddListeningPort(*address,
                           security->tls() == nullptr ? grpc::InsecureServerCredentials()
                                                      : security->tls()->NewCredentials(),
                           &port);
  for (GuardedService* const service : services) builder.RegisterService(service);
  builder.SetContextAllocator(MakeCallContextAllocator());
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(MakeUnreadableRequestFactory());
  interceptors.push_back(MakeAccessFactory(&authorizer));
  interceptors.push_back(MakeRpcMetricsFactory(&metrics));
  interceptors.push_back(MakeRpcLogFactory(log, RandomBits));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on the gRPC address ", *address));
  }
  AMEND_ASSIGN_OR_RETURN(const HostPort parts, ParseHostPort("gRPC", *address));
  *address = absl::StrCat(parts.host, ":", port);
  return server;
}

std::vector<grpc::Server*> Server::Parts::servers() const {
  std::vector<grpc::Server*> listening;
  for (const auto& server : {grpc_server.get(), admin_server.get()}) {
    if (server != nullptr) listening.push_back(server);
  }
  return listening;
}

void Server::Parts::SetServing(bool now_serves) {
  ready = now_serves;
  absl::MutexLock lock(&health_mutex);
  serves = now_serves;
  ReportHealth();
}

void Server::Parts::OnReadOnly(bool now_read_only, absl::string_view why) {
  if (now_read_only) {
    log->Write(LogLevel::kError, "store_read_only", {{"message", std::string(why)}});
  } else {
    log->Write(LogLevel::kInfo, "store_writable");
  }
  absl::MutexLock lock(&health_mutex);
  read_only = now_read_only;
  if (serves) ReportHealth();
}

void Server::Parts::ReportHealth() {
  for (grpc::Server* const server : servers()) {
    grpc::HealthCheckServiceInterface* health = server->GetHealthCheckService();
    if (health == nullptr) continue;
    health->SetServingStatus("", serves);
    if (server == admin_server.get() || admin_server == nullptr) {
      health->SetServingStatus(v1::AdminService::service_full_name(), serves);
    }
    if (server != grpc_server.get()) continue;
    health->SetServingStatus(v1::RevisionService::service_full_name(), serves);
    health->SetServingStatus(v1::GenerationService::service_full_name(), serves);
    health->SetServingStatus(v1::EditService::service_full_name(), serves && !read_only);
  }
}

void Server::Parts::ReclaimSpace() {
  // Where this fails or has no room now, the next purge gives the space back too.
  executor->Submit([this] { store->ReclaimSpace(&closing).IgnoreError(); }).IgnoreError();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ServerOptions options) {
  auto parts = std::make_unique<Parts>(std::move(options));
  const absl::Time start = absl::Now();
  parts->log->Write(LogLevel::kInfo, "starting",
                    {{"version", kVersion},
                     {"model", parts->options.model_directory},
                     {"data", parts->options.data_directory},
                     {"config_file", parts->options.config_file}});
  AMEND_RETURN_IF_ERROR(parts->Listen());
  AMEND_RETURN_IF_ERROR(parts->LoadModel());
  AMEND_RETURN_IF_ERROR(parts->OpenStore());
  AMEND_RETURN_IF_ERROR(parts->OpenBackups());
  parts->BuildGeneration();
  parts->BuildExports();
  parts->BuildServices();
  AMEND_RETURN_IF_ERROR(parts->StartGrpc());
  AMEND_ASSIGN_OR_RETURN(const auto live, parts->serving->Resolve(kLiveLabel));
  const v1::ServerInfo info = parts->FixedInfo();
  parts->metrics.SetBuildInfo(kVersion, info.model().architecture(), info.model().device(),
                              info.model().dtype());
  parts->coordinator->Start();
  parts->intake->Start();
  parts->ready_line = absl::StrCat(
      "amendd ready: grpc ", parts->grpc_address, ", http ", parts->http->address(),
      parts->admin_server == nullptr ? "" : ", admin ", parts->admin_address, ", model ",
      info.model().name(), " (", info.model().architecture(), ", ", info.model().layers(),
      " layers, ", info.model().device(), ", ", info.model().dtype(), "), live revision ",
      live->revision.value(), parts->damaged ? ", read-only: the store is damaged" : "");
  parts->SetServing(true);
  parts->log->Write(LogLevel::kInfo, "ready",
                    {{"grpc", parts->grpc_address},
                     {"http", parts->http->address()},
                     {"model", info.model().name()},
                     {"live", live->revision.value()},
                     {"seconds", absl::ToDoubleSeconds(absl::Now() - start)}});
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() { Shutdown(); }

absl::StatusOr<ReloadReport> Server::Reload() { return parts_->Reload(); }

const std::string& Server::grpc_address() const { return parts_->grpc_address; }
const std::string& Server::admin_address() const {
  return parts_->admin_server == nullptr ? parts_->grpc_address : parts_->admin_address;
}
const std::string& Server::http_address() const { return parts_->http->address(); }
const std::string& Server::ready_line() const { return parts_->ready_line; }

void Server::Shutdown() {
  absl::MutexLock lock(&mutex_);
  if (down_) return;
  down_ = true;
  const absl::Time start = absl::Now();
  parts_->Drain();
  parts_->closing = true;
  absl::Duration drain_time;
  {
    absl::MutexLock reload_lock(&parts_->reload_mutex);
    drain_time = parts_->current.drain_time;
  }
  parts_->scheduler->Stop(drain_time);
  parts_->coordinator->Stop();
  const auto deadline = absl::ToChronoTime(absl::Now() + kLastCalls);
  for (grpc::Server* const server : parts_->servers()) server->Shutdown(deadline);
  parts_->executor->Stop();
  parts_->maintenance->Stop();
  parts_->export_executor->Stop();
  parts_->log->Write(LogLevel::kInfo, "stopped",
                     {{"seconds", absl::ToDoubleSeconds(absl::Now() - start)}});
}

}  // namespace amend
