#include "server/admin_service.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors.h"

namespace amend {

AdminService::AdminService(Options options) : options_(std::move(options)) {}

grpc::ServerUnaryReactor* AdminService::GetServerInfo(grpc::CallbackServerContext* context,
                                                      const v1::GetServerInfoRequest* /*request*/,
                                                      v1::ServerInfo* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto live = options_.store->GetLabel(kLiveLabel);
  if (live.ok()) {
    *response = options_.fixed;
    response->mutable_live()->set_name(live->name);
    response->mutable_live()->set_revision(live->revision.value());
    response->mutable_live()->set_etag(absl::StrCat(live->generation));
    response->set_latest_revision(options_.store->LatestRevision().value());
    response->set_edit_queue_depth(options_.edit_queue_depth());
    response->set_running_sequences(options_.running_sequences());
    response->set_waiting_sequences(options_.waiting_sequences());
  }
  reactor->Finish(ToGrpcStatus(live.status()));
  return reactor;
}

}  // namespace amend
