#include "server/revision_service.h"

#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/errors.h"
#include "server/label_mover.h"
#include "server/line_edits.h"
#include "server/proto_conversion.h"
#include "server/request_validation.h"
#include "server/revision_comparison.h"
#include "server/revision_watch.h"
#include "server/security/call_context.h"
#include "server/unary_call.h"

namespace amend {
namespace {

std::string LabelOr(const std::string& label) {
  return label.empty() ? std::string(kLiveLabel) : label;
}

std::optional<std::string> EtagFrom(const std::string& etag) {
  return etag.empty() ? std::nullopt : std::optional<std::string>(etag);
}

// Which labels stand where.
absl::StatusOr<std::multimap<Revision, std::string>> LabelsByRevision(const RevisionStore& store) {
  AMEND_ASSIGN_OR_RETURN(const std::vector<LabelRecord> labels, store.ListLabels());
  std::multimap<Revision, std::string> out;
  for (const LabelRecord& label : labels) out.emplace(label.revision, label.name);
  return out;
}

void AddLabels(const std::multimap<Revision, std::string>& labels, v1::Revision& revision) {
  const auto [first, last] = labels.equal_range(Revision(revision.revision()));
  for (auto it = first; it != last; ++it) revision.add_labels(it->second);
}

absl::StatusOr<Revision> RevisionAsked(const RevisionStore& store,
                                       const v1::GetRevisionRequest& request) {
  if (request.at_case() == v1::GetRevisionRequest::kRevision) return Revision(request.revision());
  AMEND_ASSIGN_OR_RETURN(const LabelRecord label, FindLabel(store, LabelOr(request.label())));
  return label.revision;
}

absl::Status ReadRevision(const RevisionStore& store, const v1::GetRevisionRequest& request,
                          v1::Revision& response) {
  AMEND_ASSIGN_OR_RETURN(const Revision revision, RevisionAsked(store, request));
  AMEND_ASSIGN_OR_RETURN(const auto labels, LabelsByRevision(store));
  if (revision == kBaseRevision) {
    response.set_state(v1::Revision::VALIDATED);
    AddLabels(labels, response);
    return absl::OkStatus();
  }
  const absl::StatusOr<RevisionRecord> record = store.GetRevision(revision);
  if (absl::IsNotFound(record.status())) {
    return WithReason(record.status(), "REVISION_NOT_FOUND",
                      {{"revision", absl::StrCat(revision.value())},
                       {"latest", absl::StrCat(store.LatestRevision().value())}});
  }
  if (!record.ok()) return record.status();
  response = ToProto(*record);
  AddLabels(labels, response);
  if (record->withdraws()) return absl::OkStatus();
  AMEND_ASSIGN_OR_RETURN(const LedgerEntry entry, store.GetLedger(record->batch));
  for (const Edit& edit : EditsOf(entry)) *response.add_edits() = ToProto(edit);
  for (v1::EditResult& result : ResultsOf(entry.verdicts, entry.edits)) {
    if (result.dropped() && entry.state != BatchState::kRejected) continue;
    // The places are those of this list.
    result.set_index(response.edit_results_size());
    *response.add_edit_results() = std::move(result);
  }
  return absl::OkStatus();
}

absl::Status ReadRevisions(const RevisionStore& store, const v1::ListRevisionsRequest& request,
                           v1::ListRevisionsResponse& response) {
  AMEND_ASSIGN_OR_RETURN(const int limit, PageSize(request.page_size()));
  AMEND_ASSIGN_OR_RETURN(const int64_t before,
                         ParsePageToken(request.page_token(), std::numeric_limits<int64_t>::max()));
  // One more than asked for: whether there is another page.
  AMEND_ASSIGN_OR_RETURN(const std::vector<RevisionRecord> records,
                         store.ListRevisions(Revision(before), limit + 1));
  AMEND_ASSIGN_OR_RETURN(const auto labels, LabelsByRevision(store));
  AMEND_ASSIGN_OR_RETURN(const LabelRecord live, store.GetLabel(kLiveLabel));
  for (const RevisionRecord& record : records) {
    if (response.revisions_size() == limit) {
      response.set_next_page_token(PageToken(record.revision.value() + 1));
      break;
    }
    *response.add_revisions() = ToProto(record);
    AddLabels(labels, *response.mutable_revisions(response.revisions_size() - 1));
  }
  *response.mutable_live() = ToProto(live);
  return absl::OkStatus();
}

absl::Status ReadLabels(const RevisionStore& store, v1::ListLabelsResponse& response) {
  AMEND_ASSIGN_OR_RETURN(const std::vector<LabelRecord> labels, store.ListLabels());
  for (const LabelRecord& label : labels) *response.add_labels() = ToProto(label);
  return absl::OkStatus();
}

absl::Status ReadAudit(const RevisionStore& store, const v1::ListAuditRecordsRequest& request,
                       v1::ListAuditRecordsResponse& response) {
  AMEND_ASSIGN_OR_RETURN(const int limit, PageSize(request.page_size()));
  AMEND_ASSIGN_OR_RETURN(const int64_t before,
                         ParsePageToken(request.page_token(), std::numeric_limits<int64_t>::max()));
  AMEND_ASSIGN_OR_RETURN(const std::vector<AuditRecord> records,
                         store.ListAudit(before, limit + 1));
  for (const AuditRecord& record : records) {
    if (response.records_size() == limit) {
      response.set_next_page_token(PageToken(record.sequence + 1));
      break;
    }
    *response.add_records() = ToProto(record);
  }
  return absl::OkStatus();
}

// Ends a verb's call with what the coordinator says; `fill` makes the response of it. Request and
// response live until then.
template <typename Result, typename Fill>
Coordinator::Callback<Result> Answer(grpc::ServerUnaryReactor* reactor, Fill fill) {
  return [reactor, fill](const absl::StatusOr<Result>& result) {
    if (result.ok()) fill(*result);
    reactor->Finish(ToGrpcStatus(result.status()));
  };
}

// Promote's and Rollback's responses have the same fields.
template <typename Response>
Coordinator::LabelCallback AnswerMove(grpc::ServerUnaryReactor* reactor, Response* response) {
  return Answer<LabelMoved>(reactor, [response](const LabelMoved& moved) {
    *response->mutable_label() = ToProto(moved.label);
    response->set_previous_revision(moved.previous.value());
  });
}

}  // namespace

RevisionService::RevisionService(Coordinator* coordinator, const RevisionStore* store,
                                 RevisionEventHub* changes, TaskExecutor* executor,
                                 ExportStream::Environment* exports)
    : coordinator_(coordinator),
      store_(store),
      changes_(changes),
      executor_(executor),
      exports_(exports) {}

grpc::ServerUnaryReactor* RevisionService::GetRevision(grpc::CallbackServerContext* context,
                                                       const v1::GetRevisionRequest* request,
                                                       v1::Revision* response) {
  const absl::Status valid = ValidateGetRevision(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  return FinishOnExecutor(context, executor_, [this, request, response] {
    return FromStore(ReadRevision(*store_, *request, *response));
  });
}

grpc::ServerUnaryReactor* RevisionService::ListRevisions(grpc::CallbackServerContext* context,
                                                         const v1::ListRevisionsRequest* request,
                                                         v1::ListRevisionsResponse* response) {
  return FinishOnExecutor(context, executor_, [this, request, response] {
    return FromStore(ReadRevisions(*store_, *request, *response));
  });
}

grpc::ServerUnaryReactor* RevisionService::Promote(grpc::CallbackServerContext* context,
                                                   const v1::PromoteRequest* request,
                                                   v1::PromoteResponse* response) {
  const absl::Status valid = ValidatePromote(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  PromoteCommand command{LabelOr(request->label()), Revision(request->revision()),
                         EtagFrom(request->etag()), request->reason(), ActorOf(*context)};
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  coordinator_->Promote(std::move(command), AnswerMove(reactor, response));
  return reactor;
}

grpc::ServerUnaryReactor* RevisionService::Rollback(grpc::CallbackServerContext* context,
                                                    const v1::RollbackRequest* request,
                                                    v1::RollbackResponse* response) {
  const absl::Status valid = ValidateRollback(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  RollbackCommand command;
  command.label = LabelOr(request->label());
  if (request->target_case() == v1::RollbackRequest::kRevision) {
    command.target = Revision(request->revision());
  }
  command.etag = EtagFrom(request->etag());
  command.reason = request->reason();
  command.actor = ActorOf(*context);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  coordinator_->Rollback(std::move(command), AnswerMove(reactor, response));
  return reactor;
}

grpc::ServerUnaryReactor* RevisionService::CompareRevisions(
    grpc::CallbackServerContext* context, const v1::CompareRevisionsRequest* request,
    v1::CompareRevisionsResponse* response) {
  const absl::Status valid = ValidateCompare(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  return FinishOnExecutor(context, executor_, [this, request, response] {
    absl::StatusOr<v1::CompareRevisionsResponse> compared =
        amend::CompareRevisions(*store_, *request);
    if (compared.ok()) *response = *std::move(compared);
    return FromStore(compared.status());
  });
}

grpc::ServerWriteReactor<v1::WatchRevisionsResponse>* RevisionService::WatchRevisions(
    grpc::CallbackServerContext* /*context*/, const v1::WatchRevisionsRequest* /*request*/) {
  return RevisionWatch::Create(changes_, kMaxWaitingEvents);
}

grpc::ServerUnaryReactor* RevisionService::ValidateRevision(
    grpc::CallbackServerContext* context, const v1::ValidateRevisionRequest* request,
    v1::ValidateRevisionResponse* response) {
  const absl::Status valid = ValidateValidate(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  coordinator_->Validate(
      {Revision(request->revision()), request->thresholds()},
      Answer<Validation>(reactor, [response](const Validation& validation) {
        *response->mutable_gate_report() = ToProto(validation.gate.verdict);
        for (v1::EditResult& result : ResultsOf(validation.gate.edits, validation.edits)) {
          *response->add_edit_results() = std::move(result);
        }
      }));
  return reactor;
}

grpc::ServerUnaryReactor* RevisionService::ListLabels(grpc::CallbackServerContext* context,
                                                      const v1::ListLabelsRequest* /*request*/,
                                                      v1::ListLabelsResponse* response) {
  return FinishOnExecutor(context, executor_,
                          [this, response] { return FromStore(ReadLabels(*store_, *response)); });
}

grpc::ServerUnaryReactor* RevisionService::SetLabel(grpc::CallbackServerContext* context,
                                                    const v1::SetLabelRequest* request,
                                                    v1::SetLabelResponse* response) {
  const absl::Status valid = ValidateSetLabel(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  SetLabelCommand command{request->label(), Revision(request->revision()),
                          EtagFrom(request->etag()), request->reason(), ActorOf(*context)};
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  coordinator_->SetLabel(std::move(command),
                         Answer<LabelMoved>(reactor, [response](const LabelMoved& moved) {
                           *response->mutable_label() = ToProto(moved.label);
                           if (!moved.is_new)
                             response->set_previous_revision(moved.previous.value());
                         }));
  return reactor;
}

grpc::ServerUnaryReactor* RevisionService::DeleteLabel(grpc::CallbackServerContext* context,
                                                       const v1::DeleteLabelRequest* request,
                                                       v1::DeleteLabelResponse* response) {
  const absl::Status valid = ValidateDeleteLabel(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  DeleteLabelCommand command{request->label(), EtagFrom(request->etag()), request->reason(),
                             ActorOf(*context)};
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  coordinator_->DeleteLabel(std::move(command),
                            Answer<LabelRecord>(reactor, [response](const LabelRecord& label) {
                              *response->mutable_label() = ToProto(label);
                            }));
  return reactor;
}

template <typename Request>
grpc::ServerUnaryReactor* RevisionService::Mark(grpc::CallbackServerContext* context,
                                                MarkCommand::Verb verb, const Request& request,
                                                v1::Revision* response) {
  const absl::Status valid = ValidateMark(request.revision(), request.reason());
  if (!valid.ok()) return FinishNow(context, valid);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  coordinator_->Mark(
      {verb, Revision(request.revision()), request.reason(), ActorOf(*context)},
      Answer<RevisionRecord>(reactor, [this, response](const RevisionRecord& record) {
        *response = ToProto(record);
        const auto labels = LabelsByRevision(*store_);
        if (labels.ok()) AddLabels(*labels, *response);
      }));
  return reactor;
}

grpc::ServerUnaryReactor* RevisionService::PinRevision(grpc::CallbackServerContext* context,
                                                       const v1::PinRevisionRequest* request,
                                                       v1::Revision* response) {
  return Mark(context, MarkCommand::Verb::kPin, *request, response);
}

grpc::ServerUnaryReactor* RevisionService::UnpinRevision(grpc::CallbackServerContext* context,
                                                         const v1::UnpinRevisionRequest* request,
                                                         v1::Revision* response) {
  return Mark(context, MarkCommand::Verb::kUnpin, *request, response);
}

grpc::ServerUnaryReactor* RevisionService::DeleteRevision(grpc::CallbackServerContext* context,
                                                          const v1::DeleteRevisionRequest* request,
                                                          v1::Revision* response) {
  return Mark(context, MarkCommand::Verb::kDelete, *request, response);
}

grpc::ServerUnaryReactor* RevisionService::UndeleteRevision(
    grpc::CallbackServerContext* context, const v1::UndeleteRevisionRequest* request,
    v1::Revision* response) {
  return Mark(context, MarkCommand::Verb::kUndelete, *request, response);
}

grpc::ServerUnaryReactor* RevisionService::PurgeRevisions(grpc::CallbackServerContext* context,
                                                          const v1::PurgeRevisionsRequest* request,
                                                          v1::PurgeRevisionsResponse* response) {
  const absl::Status valid = ValidatePurge(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  coordinator_->Purge(
      {request->without_delay(), request->dry_run(), request->reason(), ActorOf(*context)},
      Answer<Purged>(reactor, [response](const Purged& purged) {
        for (const Revision revision : purged.revisions) {
          response->add_revisions(revision.value());
        }
        response->set_more(purged.more);
      }));
  return reactor;
}

grpc::ServerUnaryReactor* RevisionService::ListAuditRecords(
    grpc::CallbackServerContext* context, const v1::ListAuditRecordsRequest* request,
    v1::ListAuditRecordsResponse* response) {
  return FinishOnExecutor(context, executor_, [this, request, response] {
    return FromStore(ReadAudit(*store_, *request, *response));
  });
}

grpc::ServerUnaryReactor* RevisionService::WithdrawEdits(grpc::CallbackServerContext* context,
                                                         const v1::WithdrawEditsRequest* request,
                                                         v1::WithdrawEditsResponse* response) {
  const absl::Status valid = ValidateWithdrawEdits(*request);
  if (!valid.ok()) return FinishNow(context, valid);
  WithdrawCommand command;
  if (request->at_case() == v1::WithdrawEditsRequest::kRevision) {
    command.revision = Revision(request->revision());
  }
  command.label = LabelOr(request->label());
  command.etag = EtagFrom(request->etag());
  for (const v1::EditReference& edit : request->edits()) {
    command.edits.push_back({Revision(edit.revision()), edit.edit_index()});
  }
  command.promotion = PromotionFromProto(request->promotion());
  command.validate_only = request->validate_only();
  command.reason = request->reason();
  command.actor = ActorOf(*context);
  command.principal = PrincipalOf(*context);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  coordinator_->Withdraw(std::move(command),
                         Answer<EditsWithdrawn>(reactor, [response](const EditsWithdrawn& made) {
                           *response->mutable_revision() = ToProto(made.record);
                           *response->mutable_label() = ToProto(made.label);
                         }));
  return reactor;
}

grpc::ServerWriteReactor<v1::ExportRevisionResponse>* RevisionService::ExportRevision(
    grpc::CallbackServerContext* context, const v1::ExportRevisionRequest* request) {
  if (exports_ == nullptr) {
    return v1::RevisionService::CallbackService::ExportRevision(context, request);
  }
  return ExportStream::Start(exports_, *request);
}

}  // namespace amend
