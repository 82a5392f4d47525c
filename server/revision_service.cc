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
#include "server/proto_conversion.h"
#include "server/request_validation.h"
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
  const std::string name = LabelOr(request.label());
  const absl::StatusOr<LabelRecord> label = store.GetLabel(name);
  if (absl::IsNotFound(label.status())) {
    return WithReason(label.status(), "LABEL_NOT_FOUND", {{"label", name}});
  }
  if (!label.ok()) return label.status();
  return label->revision;
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
  AMEND_ASSIGN_OR_RETURN(const LedgerEntry entry, store.GetLedger(record->batch));
  for (const Edit& edit : entry.edits) *response.add_edits() = ToProto(edit);
  for (v1::EditResult& result : ResultsOf(entry.verdicts, entry.edits)) {
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

// Ends a verb's call with what the coordinator says. Request and response live until then.
template <typename Response>
Coordinator::LabelCallback Answer(grpc::ServerUnaryReactor* reactor, Response* response) {
  return [reactor, response](const absl::StatusOr<LabelMoved>& moved) {
    if (moved.ok()) {
      *response->mutable_label() = ToProto(moved->label);
      response->set_previous_revision(moved->previous.value());
    }
    reactor->Finish(ToGrpcStatus(moved.status()));
  };
}

}  // namespace

RevisionService::RevisionService(Coordinator* coordinator, const RevisionStore* store,
                                 TaskExecutor* executor)
    : coordinator_(coordinator), store_(store), executor_(executor) {}

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
                         EtagFrom(request->etag()), request->reason(), context->peer()};
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  coordinator_->Promote(std::move(command), Answer(reactor, response));
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
  command.actor = context->peer();
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  coordinator_->Rollback(std::move(command), Answer(reactor, response));
  return reactor;
}

}  // namespace amend
