#include "server/admin_service.h"

#include <utility>

#include "core/base/status_macros.h"
#include "server/proto_conversion.h"
#include "server/unary_call.h"

namespace amend {

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
  info->set_latest_revision(options_.store->LatestRevision().value());
  info->set_edit_queue_depth(options_.edit_queue_depth());
  info->set_running_sequences(options_.running_sequences());
  info->set_waiting_sequences(options_.waiting_sequences());
  return absl::OkStatus();
}

}  // namespace amend
