#ifndef AMEND_SERVER_EDIT_SERVICE_H_
#define AMEND_SERVER_EDIT_SERVICE_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "amend/v1/edit.grpc.pb.h"
#include "server/coordinator.h"
#include "server/edit_intake.h"
#include "server/task_executor.h"
#include "storage/records.h"
#include "storage/revision_store.h"

namespace amend {

// EditService over the intake: validates, converts, hands over and reports back. Thread-safe; no
// method blocks. gRPC's threads neither read the disk nor run the model: that is done on the
// executor, the intake and the coordinator's threads.
class EditService final : public v1::EditService::CallbackService {
 public:
  struct Options {
    // Batches that one stream may have in flight.
    int credits = 16;
    int max_batch_edits = 1000;
    // Used where a request sets none.
    GateThresholds default_thresholds;
  };
  // All of them outlive this object and the gRPC server. `check_edits` is called on the executor.
  EditService(EditIntake* intake, Coordinator* coordinator, const RevisionStore* store,
              TaskExecutor* executor, CheckEdits check_edits, Options options);

  // Used where a request sets none, from the next one on.
  void SetDefaultThresholds(const GateThresholds& thresholds) ABSL_LOCKS_EXCLUDED(mutex_);

  grpc::ServerBidiReactor<v1::StreamEditsRequest, v1::StreamEditsResponse>* StreamEdits(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* SubmitEditBatch(grpc::CallbackServerContext* context,
                                            const v1::SubmitEditBatchRequest* request,
                                            v1::SubmitEditBatchResponse* response) override;
  grpc::ServerUnaryReactor* GetEditBatch(grpc::CallbackServerContext* context,
                                         const v1::GetEditBatchRequest* request,
                                         v1::EditBatchStatus* response) override;
  grpc::ServerUnaryReactor* CancelEditBatch(grpc::CallbackServerContext* context,
                                            const v1::CancelEditBatchRequest* request,
                                            v1::EditBatchStatus* response) override;
  grpc::ServerUnaryReactor* ListEditBatches(grpc::CallbackServerContext* context,
                                            const v1::ListEditBatchesRequest* request,
                                            v1::ListEditBatchesResponse* response) override;

 private:
  GateThresholds default_thresholds() const ABSL_LOCKS_EXCLUDED(mutex_);

  EditIntake* const intake_;
  Coordinator* const coordinator_;
  const RevisionStore* const store_;
  TaskExecutor* const executor_;
  const CheckEdits check_edits_;
  const Options options_;
  mutable absl::Mutex mutex_;
  GateThresholds default_thresholds_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_EDIT_SERVICE_H_
