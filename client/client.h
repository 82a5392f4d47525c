#ifndef AMEND_CLIENT_CLIENT_H_
#define AMEND_CLIENT_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "amend/v1/admin.pb.h"
#include "amend/v1/edit.pb.h"
#include "amend/v1/generation.pb.h"
#include "amend/v1/revision.pb.h"
#include "client/credentials.h"
#include "client/edit_stream.h"

namespace amend::client {

struct ClientOptions {
  // HOST:PORT.
  std::string server = "127.0.0.1:50051";
  // See ReadCredentials() for those in files.
  Credentials credentials{};
};

// A connection to one Amend server. Thread-safe.
//
// Calls block until the server has answered. Errors keep the server's code, message and details:
// ErrorReason() of errors.h gives the reason, IsConnectionLost() says whether there was a server at
// all. Nothing is sent twice by itself, except by StreamEdits, whose offsets make that safe.
class Client {
 public:
  // Does not connect yet: a server that is not there shows in the first call.
  static std::unique_ptr<Client> Create(ClientOptions options);
  virtual ~Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  virtual const std::string& server() const = 0;

  // Sends `batches` as offsets 0, 1, 2, ... of one session and returns their outcomes in this
  // order; see RunEditStream() in edit_stream.h for resuming and lost connections.
  virtual absl::StatusOr<std::vector<amend::v1::EditBatchStatus>> StreamEdits(
      const EditStreamOptions& options, const std::vector<amend::v1::EditBatch>& batches,
      EditStreamObserver* observer) = 0;

  // Waits until the batch has reached the stage that the request names.
  virtual absl::StatusOr<amend::v1::EditBatchStatus> SubmitEditBatch(
      const amend::v1::SubmitEditBatchRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::EditBatchStatus> CancelEditBatch(
      const amend::v1::CancelEditBatchRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::ListEditBatchesResponse> ListEditBatches(
      const amend::v1::ListEditBatchesRequest& request) = 0;

  virtual absl::StatusOr<amend::v1::GenerateResponse> Generate(
      const amend::v1::GenerateRequest& request) = 0;
  // Calls `receive` with each message as it comes, on the caller's thread.
  virtual absl::Status GenerateStream(
      const amend::v1::GenerateRequest& request,
      const std::function<void(const amend::v1::GenerateStreamResponse&)>& receive) = 0;
  virtual absl::StatusOr<amend::v1::ScoreResponse> Score(
      const amend::v1::ScoreRequest& request) = 0;

  virtual absl::StatusOr<amend::v1::Revision> GetRevision(
      const amend::v1::GetRevisionRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::ListRevisionsResponse> ListRevisions(
      const amend::v1::ListRevisionsRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::PromoteResponse> Promote(
      const amend::v1::PromoteRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::RollbackResponse> Rollback(
      const amend::v1::RollbackRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::WithdrawEditsResponse> WithdrawEdits(
      const amend::v1::WithdrawEditsRequest& request) = 0;

  virtual absl::StatusOr<amend::v1::CompareRevisionsResponse> CompareRevisions(
      const amend::v1::CompareRevisionsRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::ValidateRevisionResponse> ValidateRevision(
      const amend::v1::ValidateRevisionRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::ListLabelsResponse> ListLabels(
      const amend::v1::ListLabelsRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::SetLabelResponse> SetLabel(
      const amend::v1::SetLabelRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::DeleteLabelResponse> DeleteLabel(
      const amend::v1::DeleteLabelRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::Revision> PinRevision(
      const amend::v1::PinRevisionRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::Revision> UnpinRevision(
      const amend::v1::UnpinRevisionRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::Revision> DeleteRevision(
      const amend::v1::DeleteRevisionRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::Revision> UndeleteRevision(
      const amend::v1::UndeleteRevisionRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::PurgeRevisionsResponse> PurgeRevisions(
      const amend::v1::PurgeRevisionsRequest& request) = 0;
  virtual absl::StatusOr<amend::v1::ListAuditRecordsResponse> ListAuditRecords(
      const amend::v1::ListAuditRecordsRequest& request) = 0;
  // Calls `receive` with the state, then with each change as it comes, on the caller's thread. OK
  // once `receive` returns false; otherwise it ends with the server or the connection.
  virtual absl::Status WatchRevisions(
      const amend::v1::WatchRevisionsRequest& request,
      const std::function<bool(const amend::v1::WatchRevisionsResponse&)>& receive) = 0;

  // Calls `receive` with each message as it comes, on the caller's thread; false from it ends the
  // call, with CANCELLED.
  virtual absl::Status ExportRevision(
      const amend::v1::ExportRevisionRequest& request,
      const std::function<bool(const amend::v1::ExportRevisionResponse&)>& receive) = 0;

  virtual absl::StatusOr<amend::v1::ServerInfo> GetServerInfo() = 0;

  virtual absl::StatusOr<amend::v1::Backup> CreateBackup() = 0;
  virtual absl::StatusOr<amend::v1::ListBackupsResponse> ListBackups() = 0;
  virtual absl::Status DeleteBackup(int64_t number) = 0;
  // Calls `receive` with each message as it comes, on the caller's thread. The last one has the
  // report.
  virtual absl::Status VerifyStore(
      const std::function<void(const amend::v1::VerifyStoreResponse&)>& receive) = 0;

 protected:
  Client() = default;
};

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLIENT_H_
