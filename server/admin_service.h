#ifndef AMEND_SERVER_ADMIN_SERVICE_H_
#define AMEND_SERVER_ADMIN_SERVICE_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "amend/v1/admin.grpc.pb.h"
#include "amend/v1/admin.pb.h"
#include "server/event_log.h"
#include "server/task_executor.h"
#include "storage/revision_store.h"
#include "storage/store_backups.h"

namespace amend {

// amend.v1.AdminService: what runs here and how, and care for the store. Thread-safe; no method
// blocks: the store is read on the executor, and what reads or copies all of it has an executor of
// its own.
class AdminService final : public v1::AdminService::CallbackService {
 public:
  struct Options {
    // What does not change while the server runs: everything but the fields that the callbacks
    // below and the store give.
    v1::ServerInfo fixed;
    // Both outlive the service.
    const RevisionStore* store = nullptr;
    TaskExecutor* executor = nullptr;
    // For what takes long. Outlives the service; required.
    TaskExecutor* maintenance = nullptr;
    // Outlives the service; null on a server that has no backup directory.
    StoreBackups* backups = nullptr;
    std::function<absl::Time()> clock = absl::Now;
    // Thread-safe. Required.
    std::function<int()> edit_queue_depth;
    std::function<int()> running_sequences;
    std::function<int()> waiting_sequences;
    // Sets what a reload may have changed in `fixed`.
    std::function<void(v1::ServerInfo*)> refresh;
    std::function<v1::GetConfigResponse()> config;
    // INVALID_ARGUMENT or NOT_FOUND, naming what is wrong with it, where nothing changed.
    std::function<absl::StatusOr<v1::ReloadConfigResponse>()> reload;
    std::function<void()> drain;
    // Outlives the service; required.
    EventLog* log = nullptr;
  };

  explicit AdminService(Options options);

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::ServerInfo* response) override;
  grpc::ServerUnaryReactor* CreateBackup(grpc::CallbackServerContext* context,
                                         const v1::CreateBackupRequest* request,
                                         v1::Backup* response) override;
  grpc::ServerUnaryReactor* ListBackups(grpc::CallbackServerContext* context,
                                        const v1::ListBackupsRequest* request,
                                        v1::ListBackupsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteBackup(grpc::CallbackServerContext* context,
                                         const v1::DeleteBackupRequest* request,
                                         v1::DeleteBackupResponse* response) override;
  grpc::ServerWriteReactor<v1::VerifyStoreResponse>* VerifyStore(
      grpc::CallbackServerContext* context, const v1::VerifyStoreRequest* request) override;
  grpc::ServerUnaryReactor* GetConfig(grpc::CallbackServerContext* context,
                                      const v1::GetConfigRequest* request,
                                      v1::GetConfigResponse* response) override;
  grpc::ServerUnaryReactor* ReloadConfig(grpc::CallbackServerContext* context,
                                         const v1::ReloadConfigRequest* request,
                                         v1::ReloadConfigResponse* response) override;
  grpc::ServerUnaryReactor* SetLogLevel(grpc::CallbackServerContext* context,
                                        const v1::SetLogLevelRequest* request,
                                        v1::SetLogLevelResponse* response) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const v1::DrainRequest* request,
                                  v1::DrainResponse* response) override;

 private:
  // Answers with what `work` returns, which runs on the maintenance executor.
  grpc::ServerUnaryReactor* WithBackups(grpc::CallbackServerContext* context,
                                        std::function<absl::Status(StoreBackups&)> work);
  absl::Status Fill(v1::ServerInfo* info) const;

  const Options options_;
};

}  // namespace amend

#endif  // AMEND_SERVER_ADMIN_SERVICE_H_
