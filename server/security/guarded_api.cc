#include "server/security/guarded_api.h"

namespace amend {

void AddGuarded(v1::EditService::CallbackService* service, GuardedService* guarded) {
  using Service = v1::EditService::CallbackService;
  guarded->Add("/amend.v1.EditService/StreamEdits", service, &Service::StreamEdits);
  guarded->Add("/amend.v1.EditService/SubmitEditBatch", service, &Service::SubmitEditBatch);
  guarded->Add("/amend.v1.EditService/GetEditBatch", service, &Service::GetEditBatch);
  guarded->Add("/amend.v1.EditService/CancelEditBatch", service, &Service::CancelEditBatch);
  guarded->Add("/amend.v1.EditService/ListEditBatches", service, &Service::ListEditBatches);
}

void AddGuarded(v1::RevisionService::CallbackService* service, GuardedService* guarded) {
  using Service = v1::RevisionService::CallbackService;
  guarded->Add("/amend.v1.RevisionService/GetRevision", service, &Service::GetRevision);
  guarded->Add("/amend.v1.RevisionService/ListRevisions", service, &Service::ListRevisions);
  guarded->Add("/amend.v1.RevisionService/Promote", service, &Service::Promote);
  guarded->Add("/amend.v1.RevisionService/Rollback", service, &Service::Rollback);
  guarded->Add("/amend.v1.RevisionService/CompareRevisions", service, &Service::CompareRevisions);
  guarded->Add("/amend.v1.RevisionService/WatchRevisions", service, &Service::WatchRevisions);
  guarded->Add("/amend.v1.RevisionService/ValidateRevision", service, &Service::ValidateRevision);
  guarded->Add("/amend.v1.RevisionService/ListLabels", service, &Service::ListLabels);
  guarded->Add("/amend.v1.RevisionService/SetLabel", service, &Service::SetLabel);
  guarded->Add("/amend.v1.RevisionService/DeleteLabel", service, &Service::DeleteLabel);
  guarded->Add("/amend.v1.RevisionService/PinRevision", service, &Service::PinRevision);
  guarded->Add("/amend.v1.RevisionService/UnpinRevision", service, &Service::UnpinRevision);
  guarded->Add("/amend.v1.RevisionService/DeleteRevision", service, &Service::DeleteRevision);
  guarded->Add("/amend.v1.RevisionService/UndeleteRevision", service, &Service::UndeleteRevision);
  guarded->Add("/amend.v1.RevisionService/PurgeRevisions", service, &Service::PurgeRevisions);
  guarded->Add("/amend.v1.RevisionService/ListAuditRecords", service, &Service::ListAuditRecords);
  guarded->Add("/amend.v1.RevisionService/WithdrawEdits", service, &Service::WithdrawEdits);
  guarded->Add("/amend.v1.RevisionService/ExportRevision", service, &Service::ExportRevision);
}

void AddGuarded(v1::GenerationService::CallbackService* service, GuardedService* guarded) {
  using Service = v1::GenerationService::CallbackService;
  guarded->Add("/amend.v1.GenerationService/Generate", service, &Service::Generate);
  guarded->Add("/amend.v1.GenerationService/GenerateStream", service, &Service::GenerateStream);
  guarded->Add("/amend.v1.GenerationService/Score", service, &Service::Score);
  guarded->Add("/amend.v1.GenerationService/Tokenize", service, &Service::Tokenize);
}

void AddGuarded(v1::AdminService::CallbackService* service, GuardedService* guarded) {
  using Service = v1::AdminService::CallbackService;
  guarded->Add("/amend.v1.AdminService/GetServerInfo", service, &Service::GetServerInfo);
  guarded->Add("/amend.v1.AdminService/CreateBackup", service, &Service::CreateBackup);
  guarded->Add("/amend.v1.AdminService/ListBackups", service, &Service::ListBackups);
  guarded->Add("/amend.v1.AdminService/DeleteBackup", service, &Service::DeleteBackup);
  guarded->Add("/amend.v1.AdminService/VerifyStore", service, &Service::VerifyStore);
  guarded->Add("/amend.v1.AdminService/GetConfig", service, &Service::GetConfig);
  guarded->Add("/amend.v1.AdminService/ReloadConfig", service, &Service::ReloadConfig);
  guarded->Add("/amend.v1.AdminService/SetLogLevel", service, &Service::SetLogLevel);
  guarded->Add("/amend.v1.AdminService/Drain", service, &Service::Drain);
}

}  // namespace amend
