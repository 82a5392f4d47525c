#ifndef AMEND_SERVER_REVISION_SERVICE_H_
#define AMEND_SERVER_REVISION_SERVICE_H_

#include "amend/v1/revision.grpc.pb.h"
#include "server/coordinator.h"
#include "server/export_stream.h"
#include "server/revision_event_hub.h"
#include "server/task_executor.h"
#include "storage/revision_store.h"

namespace amend {

// RevisionService: reads go to the store on the executor, verbs to the coordinator. Thread-safe; no
// method blocks.
//
// Revision 0, the unedited model, can be read but is not listed. Promote and SetLabel make a label
// that does not exist yet; Rollback does not.
class RevisionService final : public v1::RevisionService::CallbackService {
 public:
  // Events of one WatchRevisions call that may wait to be read.
  static constexpr int kMaxWaitingEvents = 256;

  // All of them outlive this object and the gRPC server. Without `exports` (null) ExportRevision is
  // UNIMPLEMENTED.
  RevisionService(Coordinator* coordinator, const RevisionStore* store, RevisionEventHub* changes,
                  TaskExecutor* executor, ExportStream::Environment* exports = nullptr);

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
  grpc::ServerUnaryReactor* CompareRevisions(grpc::CallbackServerContext* context,
                                             const v1::CompareRevisionsRequest* request,
                                             v1::CompareRevisionsResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchRevisionsResponse>* WatchRevisions(
      grpc::CallbackServerContext* context, const v1::WatchRevisionsRequest* request) override;
  grpc::ServerUnaryReactor* ValidateRevision(grpc::CallbackServerContext* context,
                                             const v1::ValidateRevisionRequest* request,
                                             v1::ValidateRevisionResponse* response) override;
  grpc::ServerUnaryReactor* ListLabels(grpc::CallbackServerContext* context,
                                       const v1::ListLabelsRequest* request,
                                       v1::ListLabelsResponse* response) override;
  grpc::ServerUnaryReactor* SetLabel(grpc::CallbackServerContext* context,
                                     const v1::SetLabelRequest* request,
                                     v1::SetLabelResponse* response) override;
  grpc::ServerUnaryReactor* DeleteLabel(grpc::CallbackServerContext* context,
                                        const v1::DeleteLabelRequest* request,
                                        v1::DeleteLabelResponse* response) override;
  grpc::ServerUnaryReactor* PinRevision(grpc::CallbackServerContext* context,
                                        const v1::PinRevisionRequest* request,
                                        v1::Revision* response) override;
  grpc::ServerUnaryReactor* UnpinRevision(grpc::CallbackServerContext* context,
                                          const v1::UnpinRevisionRequest* request,
                                          v1::Revision* response) override;
  grpc::ServerUnaryReactor* DeleteRevision(grpc::CallbackServerContext* context,
                                           const v1::DeleteRevisionRequest* request,
                                           v1::Revision* response) override;
  grpc::ServerUnaryReactor* UndeleteRevision(grpc::CallbackServerContext* context,
                                             const v1::UndeleteRevisionRequest* request,
                                             v1::Revision* response) override;
  grpc::ServerUnaryReactor* PurgeRevisions(grpc::CallbackServerContext* context,
                                           const v1::PurgeRevisionsRequest* request,
                                           v1::PurgeRevisionsResponse* response) override;
  grpc::ServerUnaryReactor* ListAuditRecords(grpc::CallbackServerContext* context,
                                             const v1::ListAuditRecordsRequest* request,
                                             v1::ListAuditRecordsResponse* response) override;
  grpc::ServerUnaryReactor* WithdrawEdits(grpc::CallbackServerContext* context,
                                          const v1::WithdrawEditsRequest* request,
                                          v1::WithdrawEditsResponse* response) override;
  grpc::ServerWriteReactor<v1::ExportRevisionResponse>* ExportRevision(
      grpc::CallbackServerContext* context, const v1::ExportRevisionRequest* request) override;

 private:
  template <typename Request>
  grpc::ServerUnaryReactor* Mark(grpc::CallbackServerContext* context, MarkCommand::Verb verb,
                                 const Request& request, v1::Revision* response);

  Coordinator* const coordinator_;
  const RevisionStore* const store_;
  RevisionEventHub* const changes_;
  TaskExecutor* const executor_;
  ExportStream::Environment* const exports_;
};

}  // namespace amend

#endif  // AMEND_SERVER_REVISION_SERVICE_H_
