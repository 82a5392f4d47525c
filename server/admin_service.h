#ifndef AMEND_SERVER_ADMIN_SERVICE_H_
#define AMEND_SERVER_ADMIN_SERVICE_H_

#include <functional>

#include "absl/status/status.h"
#include "amend/v1/admin.grpc.pb.h"
#include "amend/v1/admin.pb.h"
#include "server/task_executor.h"
#include "storage/revision_store.h"

namespace amend {

// amend.v1.AdminService: what runs here. Thread-safe; no method blocks: the store is read on the
// executor.
class AdminService final : public v1::AdminService::CallbackService {
 public:
  struct Options {
    // What does not change while the server runs: everything but the fields that the callbacks
    // below and the store give.
    v1::ServerInfo fixed;
    // Both outlive the service.
    const RevisionStore* store = nullptr;
    TaskExecutor* executor = nullptr;
    // Thread-safe. Required.
    std::function<int()> edit_queue_depth;
    std::function<int()> running_sequences;
    std::function<int()> waiting_sequences;
  };

  explicit AdminService(Options options);

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::ServerInfo* response) override;

 private:
  absl::Status Fill(v1::ServerInfo* info) const;

  const Options options_;
};

}  // namespace amend

#endif  // AMEND_SERVER_ADMIN_SERVICE_H_
