#ifndef AMEND_SERVER_REVISION_SERVICE_H_
#define AMEND_SERVER_REVISION_SERVICE_H_

#include "amend/v1/revision.grpc.pb.h"
#include "server/coordinator.h"
#include "server/task_executor.h"
#include "storage/revision_store.h"

namespace amend {

// RevisionService: reads go to the store on the executor, verbs to the coordinator. Thread-safe; no
// method blocks.
//
// Revision 0, the unedited model, can be read but is not listed. Promote makes a label that does
// not exist yet; Rollback does not.
class RevisionService final : public v1::RevisionService::CallbackService {
 public:
  // All of them outlive this object and the gRPC server.
  RevisionService(Coordinator* coordinator, const RevisionStore* store, TaskExecutor* executor);

  grpc::ServerUnaryReactor* GetRevision(grpc::CallbackServerContext* context,
                                        const v1::GetRevisionRequest* request,
                                        v1::Revision* response) override;
  grpc::ServerUnaryReactor* ListRevisions(grpc::CallbackServerContext* context,
                                          const v1::ListRevisionsRequest* request,
                                          v1::ListRevisionsResponse* response) override;
  grpc::ServerUnaryReactor* Promote(grpc::CallbackServerContext* context,
                                    const v1::PromoteRequest* request,
                                    v1::PromoteResponse* response) override;
  grpc::ServerUnaryReactor* Rollback(grpc::CallbackServerContext* context,
                                     const v1::RollbackRequest* request,
                                     v1::RollbackResponse* response) override;

 private:
  Coordinator* const coordinator_;
  const RevisionStore* const store_;
  TaskExecutor* const executor_;
};

}  // namespace amend

#endif  // AMEND_SERVER_REVISION_SERVICE_H_
