#ifndef AMEND_SERVER_SECURITY_GUARDED_API_H_
#define AMEND_SERVER_SECURITY_GUARDED_API_H_

#include "amend/v1/admin.grpc.pb.h"
#include "amend/v1/edit.grpc.pb.h"
#include "amend/v1/generation.grpc.pb.h"
#include "amend/v1/revision.grpc.pb.h"
#include "server/security/guarded_service.h"

namespace amend {

// Add every RPC of one service to what a gRPC server registers. The service outlives `guarded`.
void AddGuarded(v1::EditService::CallbackService* service, GuardedService* guarded);
void AddGuarded(v1::RevisionService::CallbackService* service, GuardedService* guarded);
void AddGuarded(v1::GenerationService::CallbackService* service, GuardedService* guarded);
void AddGuarded(v1::AdminService::CallbackService* service, GuardedService* guarded);

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_GUARDED_API_H_
