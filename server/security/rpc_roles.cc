#include "server/security/rpc_roles.h"

#include "absl/container/flat_hash_map.h"
#include "absl/strings/strip.h"

namespace amend {
namespace {

constexpr RpcRule kOpen = {RpcAccess::kOpen, v1::ROLE_UNSPECIFIED};
constexpr RpcRule kReader = {RpcAccess::kByRole, v1::READER};
constexpr RpcRule kUser = {RpcAccess::kByRole, v1::USER};
constexpr RpcRule kEditor = {RpcAccess::kByRole, v1::EDITOR};
constexpr RpcRule kPromoter = {RpcAccess::kByRole, v1::PROMOTER};
constexpr RpcRule kAdmin = {RpcAccess::kByRole, v1::ADMIN};

const absl::flat_hash_map<absl::string_view, RpcRule>& Rules() {
  static const auto* const rules = new absl::flat_hash_map<absl::string_view, RpcRule>{
      {"amend.v1.EditService/StreamEdits", kEditor},
      {"amend.v1.EditService/SubmitEditBatch", kEditor},
      {"amend.v1.EditService/GetEditBatch", kEditor},
      {"amend.v1.EditService/CancelEditBatch", kEditor},
      {"amend.v1.EditService/ListEditBatches", kEditor},

      {"amend.v1.RevisionService/GetRevision", kReader},
      {"amend.v1.RevisionService/ListRevisions", kReader},
      {"amend.v1.RevisionService/CompareRevisions", kReader},
      {"amend.v1.RevisionService/WatchRevisions", kReader},
      {"amend.v1.RevisionService/ListLabels", kReader},
      {"amend.v1.RevisionService/ListAuditRecords", kReader},
      {"amend.v1.RevisionService/Promote", kPromoter},
      {"amend.v1.RevisionService/Rollback", kPromoter},
      {"amend.v1.RevisionService/ValidateRevision", kPromoter},
      {"amend.v1.RevisionService/SetLabel", kPromoter},
      {"amend.v1.RevisionService/DeleteLabel", kPromoter},
      {"amend.v1.RevisionService/PinRevision", kPromoter},
      {"amend.v1.RevisionService/UnpinRevision", kPromoter},
      {"amend.v1.RevisionService/DeleteRevision", kPromoter},
      {"amend.v1.RevisionService/UndeleteRevision", kPromoter},
      {"amend.v1.RevisionService/PurgeRevisions", kPromoter},
      {"amend.v1.RevisionService/WithdrawEdits", kPromoter},
      // It reads, but what it hands out is the model.
      {"amend.v1.RevisionService/ExportRevision", kPromoter},

      {"amend.v1.GenerationService/Generate", kUser},
      {"amend.v1.GenerationService/GenerateStream", kUser},
      {"amend.v1.GenerationService/Score", kUser},
      {"amend.v1.GenerationService/Tokenize", kUser},

      {"amend.v1.AdminService/GetServerInfo", kAdmin},
      {"amend.v1.AdminService/CreateBackup", kAdmin},
      {"amend.v1.AdminService/ListBackups", kAdmin},
      {"amend.v1.AdminService/DeleteBackup", kAdmin},
      {"amend.v1.AdminService/VerifyStore", kAdmin},
      {"amend.v1.AdminService/GetConfig", kAdmin},
      {"amend.v1.AdminService/ReloadConfig", kAdmin},
      {"amend.v1.AdminService/SetLogLevel", kAdmin},
      {"amend.v1.AdminService/Drain", kAdmin},

      // Load balancers and probes have no credentials, and learn one bit.
      {"grpc.health.v1.Health/Check", kOpen},
      {"grpc.health.v1.Health/Watch", kOpen},
      // The protos are public.
      {"grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", kOpen},
  };
  return *rules;
}

}  // namespace

RpcRule RuleOf(absl::string_view method) {
  const auto found = Rules().find(absl::StripPrefix(method, "/"));
  return found == Rules().end() ? RpcRule() : found->second;
}

}  // namespace amend
