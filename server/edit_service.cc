#include "server/edit_service.h"

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/batch_cancels.h"
#include "server/edit_stream.h"
#include "server/errors.h"
#include "server/proto_conversion.h"
#include "server/request_validation.h"
#include "server/security/call_context.h"
#include "server/unary_call.h"

namespace amend {
namespace {

// Statuses with many verdicts are long, and a message has at most 4 MiB: a page ends once it has as
// much as this.
constexpr size_t kMaxPageBytes = size_t{1} << 20;

// For requests that come without one: 128 random bits.
std::string NewRequestId() {
  std::random_device source;
  std::string id;
  for (int i = 0; i < 4; ++i) absl::StrAppend(&id, absl::Hex(source(), absl::kZeroPad8));
  return id;
}

// One SubmitEditBatch call that waits for its batch. Owns itself until gRPC is done with it;
// thread-safe.
class SubmitCall final : public grpc::ServerUnaryReactor,
                         public std::enable_shared_from_this<SubmitCall> {
 public:
  static SubmitCall* Create(EditIntake* intake, BatchSubmission submission, v1::BatchStage wait_for,
                            v1::SubmitEditBatchResponse* response) {
    const std::shared_ptr<SubmitCall> call(new SubmitCall(wait_for, response));
    call->self_ = call;
    submission.listener.owner = call;
    submission.listener.on_status = [call = call.get()](const v1::EditBatchStatus& status) {
      call->OnStatus(status);
    };
    const absl::Status submitted = intake->Submit(std::move(submission));
    if (!submitted.ok()) call->FinishOnce(ToGrpcStatus(submitted));
    return call.get();
  }

  void OnCancel() override { FinishOnce(grpc::Status::CANCELLED); }
  void OnDone() override { const std::shared_ptr<SubmitCall> self = std::move(self_); }

 private:
  SubmitCall(v1::BatchStage wait_for, v1::SubmitEditBatchResponse* response)
      : wait_for_(wait_for), response_(response) {}

  void OnStatus(const v1::EditBatchStatus& status) ABSL_LOCKS_EXCLUDED(mutex_) {
    if (!Reached(status, wait_for_)) return;
    if (status.stage() == v1::BATCH_STAGE_UNSPECIFIED)
      return FinishOnce(ToGrpcStatus(status.error()));
    absl::MutexLock lock(&mutex_);
    if (finished_) return;
    finished_ = true;
    *response_->mutable_batch() = status;
    Finish(grpc::Status::OK);
  }

  void FinishOnce(const grpc::Status& status) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (finished_) return;
    finished_ = true;
    Finish(status);
  }

  const v1::BatchStage wait_for_;
  std::shared_ptr<SubmitCall> self_;
  absl::Mutex mutex_;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  // Until finished.
  v1::SubmitEditBatchResponse* const response_ ABSL_PT_GUARDED_BY(mutex_);
};

absl::Status CheckOnly(const v1::SubmitEditBatchRequest& request, const CheckEdits& check_edits,
                       int max_batch_edits, v1::SubmitEditBatchResponse& response) {
  const std::vector<Edit> edits = EditsFromProto(request.batch());
  const std::vector<BatchViolation> violations = CheckBatch(edits, max_batch_edits, check_edits);
  if (!violations.empty()) return BatchError(violations, request.batch().edits_size());
  response.mutable_batch()->set_edit_count(request.batch().edits_size());
  return absl::OkStatus();
}

absl::Status ReadBatch(const RevisionStore& store, const BatchKey& key,
                       v1::EditBatchStatus& response) {
  const absl::StatusOr<LedgerEntry> entry = store.GetLedger(key);
  if (absl::IsNotFound(entry.status())) return BatchNotFound(key, entry.status());
  if (!entry.ok()) return FromStore(entry.status());
  response = StatusOf(*entry);
  return absl::OkStatus();
}

absl::Status ListBatches(const RevisionStore& store, const v1::ListEditBatchesRequest& request,
                         v1::ListEditBatchesResponse& response) {
  AMEND_ASSIGN_OR_RETURN(const int limit, PageSize(request.page_size()));
  AMEND_ASSIGN_OR_RETURN(const int64_t first, ParsePageToken(request.page_token(), 0));
  // One more than asked for: whether there is another page.
  const absl::StatusOr<std::vector<LedgerEntry>> entries =
      store.ListLedger(request.session(), first, limit + 1);
  if (!entries.ok()) return FromStore(entries.status());
  size_t bytes = 0;
  for (const LedgerEntry& entry : *entries) {
    if (response.batches_size() == limit || bytes > kMaxPageBytes) {
      response.set_next_page_token(PageToken(entry.key.offset));
      break;
    }
    *response.add_batches() = StatusOf(entry);
    bytes += response.batches(response.batches_size() - 1).ByteSizeLong();
  }
  return absl::OkStatus();
}

}  // namespace

EditService::EditService(EditIntake* intake, Coordinator* coordinator, const RevisionStore* store,
                         TaskExecutor* executor, CheckEdits check_edits, Options options)
    : intake_(intake),
      coordinator_(coordinator),
      store_(store),
      executor_(executor),
      check_edits_(std::move(check_edits)),
      options_(options),
      default_thresholds_(options.default_thresholds) {}

void EditService::SetDefaultThresholds(const GateThresholds& thresholds) {
  absl::MutexLock lock(&mutex_);
  default_thresholds_ = thresholds;
}

GateThresholds EditService::default_thresholds() const {
  absl::MutexLock lock(&mutex_);
  return default_thresholds_;
}

grpc::ServerBidiReactor<v1::StreamEditsRequest, v1::StreamEditsResponse>* EditService::StreamEdits(
    grpc::CallbackServerContext* context) {
  EditStream::Environment environment;
  environment.intake = intake_;
  environment.coordinator = coordinator_;
  environment.store = store_;
  environment.executor = executor_;
  environment.credits = options_.credits;
  environment.default_thresholds = default_thresholds();
  environment.actor = PrincipalOf(*context);
  environment.trace_id = TraceIdOf(*context);
  environment.caller = CallerOf(*context);
  return EditStream::Create(environment);
}

grpc::ServerUnaryReactor* EditService::SubmitEditBatch(grpc::CallbackServerContext* context,
                                                       const v1::SubmitEditBatchRequest* request,
                                                       v1::SubmitEditBatchResponse* response) {
  const absl::Status valid = ValidateSubmit(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  if (request->validate_only()) {
    return FinishOnExecutor(context, executor_, [this, request, response] {
      return CheckOnly(*request, check_edits_, options_.max_batch_edits, *response);
    });
  }
  if (Caller* const caller = CallerOf(*context)) {
    const absl::Status allowed = caller->TakeEdits(request->batch().edits_size());
    if (!allowed.ok()) return FinishNow(context, allowed);
  }
  BatchSubmission submission;
  submission.key.session = absl::StrCat(
      kUnarySessionPrefix, request->request_id().empty() ? NewRequestId() : request->request_id());
  submission.edits = EditsFromProto(request->batch());
  submission.promotion = PromotionFromProto(request->promotion());
  submission.failure = FailurePolicyFromProto(request->failure_policy());
  submission.thresholds = ThresholdsFromProto(request->thresholds(), default_thresholds());
  submission.actor = PrincipalOf(*context);
  submission.trace_id = TraceIdOf(*context);
  submission.record_malformed = false;
  return SubmitCall::Create(intake_, std::move(submission), request->wait_for(), response);
}

grpc::ServerUnaryReactor* EditService::GetEditBatch(grpc::CallbackServerContext* context,
                                                    const v1::GetEditBatchRequest* request,
                                                    v1::EditBatchStatus* response) {
  const absl::Status valid = ValidateGetBatch(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  return FinishOnExecutor(context, executor_, [this, request, response] {
    return ReadBatch(*store_, {request->session(), request->offset()}, *response);
  });
}

grpc::ServerUnaryReactor* EditService::CancelEditBatch(grpc::CallbackServerContext* context,
                                                       const v1::CancelEditBatchRequest* request,
                                                       v1::EditBatchStatus* response) {
  const absl::Status valid = ValidateCancelBatch(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  intake_->Cancel({{request->session(), request->offset()}, request->reason(), ActorOf(*context)},
                  [reactor, response](const absl::StatusOr<LedgerEntry>& entry) {
                    if (entry.ok()) *response = StatusOf(*entry);
                    reactor->Finish(ToGrpcStatus(entry.status()));
                  });
  return reactor;
}

grpc::ServerUnaryReactor* EditService::ListEditBatches(grpc::CallbackServerContext* context,
                                                       const v1::ListEditBatchesRequest* request,
                                                       v1::ListEditBatchesResponse* response) {
  const absl::Status valid = ValidateListBatches(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  return FinishOnExecutor(context, executor_, [this, request, response] {
    return ListBatches(*store_, *request, *response);
  });
}

}  // namespace amend
