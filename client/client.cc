#include "client/client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "amend/v1/admin.grpc.pb.h"
#include "amend/v1/edit.grpc.pb.h"
#include "amend/v1/generation.grpc.pb.h"
#include "amend/v1/revision.grpc.pb.h"
#include "client/errors.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "grpcpp/support/client_interceptor.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

// gRPC's own pause between attempts to connect; its default grows to two minutes.
constexpr int kFirstReconnectMs = 100;
constexpr int kMaxReconnectMs = 1000;
// What gRPC calls the minimum backoff is how long one attempt may take.
constexpr int kConnectTimeoutMs = 10000;

// Adds the bearer token to a call. gRPC's own call credentials want TLS, and a server on this
// machine may have none.
class TokenInterceptor final : public grpc::experimental::Interceptor {
 public:
  explicit TokenInterceptor(const std::string& authorization) : authorization_(authorization) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            grpc::experimental::InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->insert({"authorization", authorization_});
    }
    methods->Proceed();
  }

 private:
  const std::string& authorization_;
};

class TokenFactory final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit TokenFactory(absl::string_view token) : authorization_(absl::StrCat("Bearer ", token)) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo* /*info*/) override {
    return new TokenInterceptor(authorization_);
  }

 private:
  const std::string authorization_;
};

std::shared_ptr<grpc::ChannelCredentials> ToGrpc(const Credentials& credentials) {
  if (!credentials.tls) return grpc::InsecureChannelCredentials();
  return grpc::SslCredentials({credentials.authorities, credentials.key, credentials.certificate});
}

std::shared_ptr<grpc::Channel> MakeChannel(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  if (!options.credentials.token.empty()) {
    interceptors.push_back(std::make_unique<TokenFactory>(options.credentials.token));
  }
  return grpc::experimental::CreateCustomChannelWithInterceptors(
      options.server, ToGrpc(options.credentials), arguments, std::move(interceptors));
}

// One unary call: `method` of the stub's class, for example &Stub::Generate.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(Stub* stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request) {
  grpc::ClientContext context;
  Response response;
  const grpc::Status status = (stub->*method)(&context, request, &response);
  if (!status.ok()) return FromGrpcStatus(status);
  return response;
}

class GrpcClient : public Client {
 public:
  GrpcClient(std::string server, const std::shared_ptr<grpc::Channel>& channel)
      : server_(std::move(server)),
        edits_(channel),
        generation_(channel),
        revisions_(channel),
        admin_(channel) {}

  const std::string& server() const override { return server_; }

  absl::StatusOr<std::vector<v1::EditBatchStatus>> StreamEdits(
      const EditStreamOptions& options, const std::vector<v1::EditBatch>& batches,
      EditStreamObserver* observer) override {
    return RunEditStream(&edits_, options, batches, observer);
  }

  absl::StatusOr<v1::EditBatchStatus> SubmitEditBatch(
      const v1::SubmitEditBatchRequest& request) override {
    const auto response = Call(&edits_, &v1::EditService::Stub::SubmitEditBatch, request);
    if (!response.ok()) return response.status();
    return response->batch();
  }

  absl::StatusOr<v1::EditBatchStatus> CancelEditBatch(
      const v1::CancelEditBatchRequest& request) override {
    return Call(&edits_, &v1::EditService::Stub::CancelEditBatch, request);
  }

  absl::StatusOr<v1::ListEditBatchesResponse> ListEditBatches(
      const v1::ListEditBatchesRequest& request) override {
    return Call(&edits_, &v1::EditService::Stub::ListEditBatches, request);
  }

  absl::StatusOr<v1::GenerateResponse> Generate(const v1::GenerateRequest& request) override {
    return Call(&generation_, &v1::GenerationService::Stub::Generate, request);
  }

  absl::Status GenerateStream(
      const v1::GenerateRequest& request,
      const std::function<void(const v1::GenerateStreamResponse&)>& receive) override {
    grpc::ClientContext context;
    const auto stream = generation_.GenerateStream(&context, request);
    v1::GenerateStreamResponse response;
    while (stream->Read(&response)) receive(response);
    return FromGrpcStatus(stream->Finish());
  }

  absl::StatusOr<v1::ScoreResponse> Score(const v1::ScoreRequest& request) override {
    return Call(&generation_, &v1::GenerationService::Stub::Score, request);
  }

  absl::StatusOr<v1::Revision> GetRevision(const v1::GetRevisionRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::GetRevision, request);
  }

  absl::StatusOr<v1::ListRevisionsResponse> ListRevisions(
      const v1::ListRevisionsRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::ListRevisions, request);
  }

  absl::StatusOr<v1::PromoteResponse> Promote(const v1::PromoteRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::Promote, request);
  }

  absl::StatusOr<v1::RollbackResponse> Rollback(const v1::RollbackRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::Rollback, request);
  }

  absl::StatusOr<v1::CompareRevisionsResponse> CompareRevisions(
      const v1::CompareRevisionsRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::CompareRevisions, request);
  }

  absl::StatusOr<v1::ValidateRevisionResponse> ValidateRevision(
      const v1::ValidateRevisionRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::ValidateRevision, request);
  }

  absl::StatusOr<v1::ListLabelsResponse> ListLabels(const v1::ListLabelsRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::ListLabels, request);
  }

  absl::StatusOr<v1::SetLabelResponse> SetLabel(const v1::SetLabelRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::SetLabel, request);
  }

  absl::StatusOr<v1::DeleteLabelResponse> DeleteLabel(
      const v1::DeleteLabelRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::DeleteLabel, request);
  }

  absl::StatusOr<v1::Revision> PinRevision(const v1::PinRevisionRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::PinRevision, request);
  }

  absl::StatusOr<v1::Revision> UnpinRevision(const v1::UnpinRevisionRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::UnpinRevision, request);
  }

  absl::StatusOr<v1::Revision> DeleteRevision(const v1::DeleteRevisionRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::DeleteRevision, request);
  }

  absl::StatusOr<v1::Revision> UndeleteRevision(
      const v1::UndeleteRevisionRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::UndeleteRevision, request);
  }

  absl::StatusOr<v1::PurgeRevisionsResponse> PurgeRevisions(
      const v1::PurgeRevisionsRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::PurgeRevisions, request);
  }

  absl::StatusOr<v1::ListAuditRecordsResponse> ListAuditRecords(
      const v1::ListAuditRecordsRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::ListAuditRecords, request);
  }

  absl::Status WatchRevisions(
      const v1::WatchRevisionsRequest& request,
      const std::function<bool(const v1::WatchRevisionsResponse&)>& receive) override {
    grpc::ClientContext context;
    const auto stream = revisions_.WatchRevisions(&context, request);
    v1::WatchRevisionsResponse event;
    while (stream->Read(&event)) {
      if (receive(event)) continue;
      context.TryCancel();
      stream->Finish();
      return absl::OkStatus();
    }
    return FromGrpcStatus(stream->Finish());
  }

  absl::StatusOr<v1::WithdrawEditsResponse> WithdrawEdits(
      const v1::WithdrawEditsRequest& request) override {
    return Call(&revisions_, &v1::RevisionService::Stub::WithdrawEdits, request);
  }

  absl::Status ExportRevision(
      const v1::ExportRevisionRequest& request,
      const std::function<bool(const v1::ExportRevisionResponse&)>& receive) override {
    grpc::ClientContext context;
    const auto stream = revisions_.ExportRevision(&context, request);
    v1::ExportRevisionResponse response;
    bool wanted = true;
    while (stream->Read(&response)) {
      wanted = wanted && receive(response);
      if (!wanted) context.TryCancel();
    }
    return FromGrpcStatus(stream->Finish());
  }

  absl::StatusOr<v1::ServerInfo> GetServerInfo() override {
    return Call(&admin_, &v1::AdminService::Stub::GetServerInfo, v1::GetServerInfoRequest());
  }

  absl::StatusOr<v1::Backup> CreateBackup() override {
    return Call(&admin_, &v1::AdminService::Stub::CreateBackup, v1::CreateBackupRequest());
  }

  absl::StatusOr<v1::ListBackupsResponse> ListBackups() override {
    return Call(&admin_, &v1::AdminService::Stub::ListBackups, v1::ListBackupsRequest());
  }

  absl::Status DeleteBackup(int64_t number) override {
    v1::DeleteBackupRequest request;
    request.set_number(number);
    return Call(&admin_, &v1::AdminService::Stub::DeleteBackup, request).status();
  }

  absl::Status VerifyStore(
      const std::function<void(const v1::VerifyStoreResponse&)>& receive) override {
    grpc::ClientContext context;
    const auto stream = admin_.VerifyStore(&context, v1::VerifyStoreRequest());
    v1::VerifyStoreResponse response;
    while (stream->Read(&response)) receive(response);
    return FromGrpcStatus(stream->Finish());
  }

 private:
  const std::string server_;
  v1::EditService::Stub edits_;
  v1::GenerationService::Stub generation_;
  v1::RevisionService::Stub revisions_;
  v1::AdminService::Stub admin_;
};

}  // namespace

std::unique_ptr<Client> Client::Create(ClientOptions options) {
  const std::shared_ptr<grpc::Channel> channel = MakeChannel(options);
  return std::make_unique<GrpcClient>(std::move(options.server), channel);
}

}  // namespace amend::client
