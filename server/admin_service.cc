#include "server/admin_service.h"

#include <utility>
#include <vector>

#include "core/base/status_macros.h"
#include "server/errors.h"
#include "server/proto_conversion.h"
#include "server/unary_call.h"
#include "server/verify_stream.h"

namespace amend {
namespace {

v1::Backup ToProto(const BackupRecord& record) {
  v1::Backup out;
  out.set_number(record.number);
  out.mutable_create_time()->set_seconds(record.create_time_us / 1000000);
  out.mutable_create_time()->set_nanos(
      static_cast<int32_t>(record.create_time_us % 1000000 * 1000));
  out.set_live_revision(record.live.value());
  out.set_latest_revision(record.latest.value());
  out.set_store_digest(record.store_digest);
  out.set_model_fingerprint(record.model_fingerprint);
  out.set_bytes(record.bytes);
  out.set_damage(record.damage);
  return out;
}

// What a backup's directory said. Trouble there is not trouble of the store: edits go on.
absl::Status FromBackups(const absl::Status& status) {
  if (absl::IsNotFound(status)) return WithReason(status, "BACKUP_NOT_FOUND");
  if (absl::IsDataLoss(status)) return WithReason(status, "DIGEST_MISMATCH");
  if (!IsStoreTrouble(status)) return status;
  return WithReason(absl::UnavailableError(status.message()), "BACKUP_FAILED");
}

}  // namespace

AdminService::AdminService(Options options) : options_(std::move(options)) {}

grpc::ServerUnaryReactor* AdminService::GetServerInfo(grpc::CallbackServerContext* context,
                                                      const v1::GetServerInfoRequest* /*request*/,
                                                      v1::ServerInfo* response) {
  return FinishOnExecutor(context, options_.executor, [this, response] { return Fill(response); });
}

absl::Status AdminService::Fill(v1::ServerInfo* info) const {
  AMEND_ASSIGN_OR_RETURN(const LabelRecord live, options_.store->GetLabel(kLiveLabel));
  *info = options_.fixed;
  info->mutable_live()->set_name(live.name);
  info->mutable_live()->set_revision(live.revision.value());
  info->mutable_live()->set_etag(EtagOf(live));
  options_.refresh(info);
  info->set_latest_revision(options_.store->LatestRevision().value());
  info->set_edit_queue_depth(options_.edit_queue_depth());
  info->set_running_sequences(options_.running_sequences());
  info->set_waiting_sequences(options_.waiting_sequences());
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdminService::WithBackups(
    grpc::CallbackServerContext* context, std::function<absl::Status(StoreBackups&)> work) {
  if (options_.backups == nullptr) {
    return FinishNow(context, WithReason(absl::FailedPreconditionError(
                                             "this server has no backup directory (--backup-dir)"),
                                         "BACKUPS_NOT_CONFIGURED"));
  }
  return FinishOnExecutor(context, options_.maintenance, [this, work = std::move(work)] {
    return FromBackups(work(*options_.backups));
  });
}

grpc::ServerUnaryReactor* AdminService::CreateBackup(grpc::CallbackServerContext* context,
                                                     const v1::CreateBackupRequest* /*request*/,
                                                     v1::Backup* response) {
  return WithBackups(context, [this, response](StoreBackups& backups) -> absl::Status {
    AMEND_ASSIGN_OR_RETURN(const BackupRecord made,
                           backups.Create(absl::ToUnixMicros(options_.clock())));
    *response = ToProto(made);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::ListBackups(grpc::CallbackServerContext* context,
                                                    const v1::ListBackupsRequest* /*request*/,
                                                    v1::ListBackupsResponse* response) {
  return WithBackups(context, [response](StoreBackups& backups) -> absl::Status {
    AMEND_ASSIGN_OR_RETURN(const std::vector<BackupRecord> records, backups.List());
    for (const BackupRecord& record : records) *response->add_backups() = ToProto(record);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::DeleteBackup(grpc::CallbackServerContext* context,
                                                     const v1::DeleteBackupRequest* request,
                                                     v1::DeleteBackupResponse* /*response*/) {
  return WithBackups(context, [number = request->number()](StoreBackups& backups) {
    return backups.Delete(number);
  });
}

grpc::ServerWriteReactor<v1::VerifyStoreResponse>* AdminService::VerifyStore(
    grpc::CallbackServerContext* /*context*/, const v1::VerifyStoreRequest* /*request*/) {
  return VerifyStream::Start(options_.store, options_.maintenance);
}

grpc::ServerUnaryReactor* AdminService::GetConfig(grpc::CallbackServerContext* context,
                                                  const v1::GetConfigRequest* /*request*/,
                                                  v1::GetConfigResponse* response) {
  *response = options_.config();
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* AdminService::ReloadConfig(grpc::CallbackServerContext* context,
                                                     const v1::ReloadConfigRequest* /*request*/,
                                                     v1::ReloadConfigResponse* response) {
  return FinishOnExecutor(context, options_.executor, [this, response]() -> absl::Status {
    absl::StatusOr<v1::ReloadConfigResponse> reloaded = options_.reload();
    if (reloaded.ok()) {
      *response = *std::move(reloaded);
      return absl::OkStatus();
    }
    if (!ReasonOf(reloaded.status()).empty()) return reloaded.status();
    return WithReason(absl::InvalidArgumentError(reloaded.status().message()), "CONFIG_INVALID");
  });
}

grpc::ServerUnaryReactor* AdminService::SetLogLevel(grpc::CallbackServerContext* context,
                                                    const v1::SetLogLevelRequest* request,
                                                    v1::SetLogLevelResponse* response) {
  const absl::StatusOr<LogLevel> level = ParseLogLevel(request->level());
  if (!level.ok()) return FinishNow(context, WithReason(level.status(), "INVALID_REQUEST"));
  const LogLevel before = options_.log->level();
  response->set_previous_level(LogLevelName(before));
  options_.log->SetLevel(*level);
  options_.log->Write(LogLevel::kWarning, "log_level_set",
                      {{"from", LogLevelName(before)}, {"to", request->level()}});
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* AdminService::Drain(grpc::CallbackServerContext* context,
                                              const v1::DrainRequest* /*request*/,
                                              v1::DrainResponse* response) {
  return FinishOnExecutor(context, options_.executor, [this, response] {
    options_.drain();
    response->set_running_sequences(options_.running_sequences());
    response->set_waiting_sequences(options_.waiting_sequences());
    response->set_edit_queue_depth(options_.edit_queue_depth());
    return absl::OkStatus();
  });
}

}  // namespace amend
