#ifndef AMEND_CLIENT_TESTING_FAKE_SERVER_H_
#define AMEND_CLIENT_TESTING_FAKE_SERVER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "amend/v1/admin.grpc.pb.h"
#include "amend/v1/edit.grpc.pb.h"
#include "amend/v1/generation.grpc.pb.h"
#include "amend/v1/revision.grpc.pb.h"
#include "grpcpp/server.h"

namespace amend::client {

// What a fake server does that a friendly one would not.
struct FakeServerOptions {
  int credits = 4;
  // Ends the first stream with UNAVAILABLE after this many responses; -1: never.
  int break_first_stream_after = -1;
  // The same for every stream.
  bool break_every_stream = false;
  // Answers no batch before more than `credits` of them have arrived, or a moment has passed.
  bool wait_for_excess_batches = false;
  // Refuses the first batch that arrives, in band, with RESOURCE_EXHAUSTED.
  bool refuse_first_batch = false;
  // Sends nothing for these offsets on a stream; GetEditBatch knows them.
  std::vector<int64_t> silent_offsets;
  // ExportRevision sends other bytes than it has the digest of.
  bool spoil_exports = false;
  // VerifyStore finds this many damages.
  int damages = 0;
};

// A model of words for tests: it answers a prompt it knows with the words of its answer. An edit
// whose prompt lacks its subject fails its batch; a batch with the target "reject me" is rejected,
// or loses that edit where that is asked for; the withdrawal of an edit whose prompt was edited
// again is rejected. Implements what the client calls, in memory. Thread-safe.
class FakeServer final : public amend::v1::EditService::Service,
                         public amend::v1::GenerationService::Service,
                         public amend::v1::RevisionService::Service,
                         public amend::v1::AdminService::Service {
 public:
  // Listens on a free port of 127.0.0.1.
  explicit FakeServer(FakeServerOptions options = {});
  ~FakeServer() override;

  const std::string& address() const { return address_; }
  // What the unedited model knows.
  void Teach(const std::string& prompt, const std::string& answer);
  // A batch that is durable and will never be solved.
  void LeavePending(const std::string& session, int64_t offset);
  int64_t live() const;
  int64_t solved_batches() const;
  int max_in_flight() const;
  int streams() const;
  std::vector<amend::v1::EditBatch> received(const std::string& session) const;

  grpc::Status StreamEdits(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<amend::v1::StreamEditsResponse, amend::v1::StreamEditsRequest>*
          stream) override;
  grpc::Status SubmitEditBatch(grpc::ServerContext* context,
                               const amend::v1::SubmitEditBatchRequest* request,
                               amend::v1::SubmitEditBatchResponse* response) override;
  grpc::Status CancelEditBatch(grpc::ServerContext* context,
                               const amend::v1::CancelEditBatchRequest* request,
                               amend::v1::EditBatchStatus* response) override;
  grpc::Status GetEditBatch(grpc::ServerContext* context,
                            const amend::v1::GetEditBatchRequest* request,
                            amend::v1::EditBatchStatus* response) override;
  grpc::Status Generate(grpc::ServerContext* context, const amend::v1::GenerateRequest* request,
                        amend::v1::GenerateResponse* response) override;
  grpc::Status GenerateStream(
      grpc::ServerContext* context, const amend::v1::GenerateRequest* request,
      grpc::ServerWriter<amend::v1::GenerateStreamResponse>* writer) override;
  grpc::Status Score(grpc::ServerContext* context, const amend::v1::ScoreRequest* request,
                     amend::v1::ScoreResponse* response) override;
  grpc::Status GetRevision(grpc::ServerContext* context,
                           const amend::v1::GetRevisionRequest* request,
                           amend::v1::Revision* response) override;
  grpc::Status ListRevisions(grpc::ServerContext* context,
                             const amend::v1::ListRevisionsRequest* request,
                             amend::v1::ListRevisionsResponse* response) override;
  grpc::Status Promote(grpc::ServerContext* context, const amend::v1::PromoteRequest* request,
                       amend::v1::PromoteResponse* response) override;
  grpc::Status Rollback(grpc::ServerContext* context, const amend::v1::RollbackRequest* request,
                        amend::v1::RollbackResponse* response) override;
  grpc::Status WithdrawEdits(grpc::ServerContext* context,
                             const amend::v1::WithdrawEditsRequest* request,
                             amend::v1::WithdrawEditsResponse* response) override;
  // Each file holds its name and the revision.
  grpc::Status ExportRevision(
      grpc::ServerContext* context, const amend::v1::ExportRevisionRequest* request,
      grpc::ServerWriter<amend::v1::ExportRevisionResponse>* writer) override;
  grpc::Status GetServerInfo(grpc::ServerContext* context,
                             const amend::v1::GetServerInfoRequest* request,
                             amend::v1::ServerInfo* response) override;
  // Backups hold nothing but where the server stood.
  grpc::Status CreateBackup(grpc::ServerContext* context,
                            const amend::v1::CreateBackupRequest* request,
                            amend::v1::Backup* response) override;
  grpc::Status ListBackups(grpc::ServerContext* context,
                           const amend::v1::ListBackupsRequest* request,
                           amend::v1::ListBackupsResponse* response) override;
  grpc::Status DeleteBackup(grpc::ServerContext* context,
                            const amend::v1::DeleteBackupRequest* request,
                            amend::v1::DeleteBackupResponse* response) override;
  grpc::Status VerifyStore(grpc::ServerContext* context,
                           const amend::v1::VerifyStoreRequest* request,
                           grpc::ServerWriter<amend::v1::VerifyStoreResponse>* writer) override;

 private:
  using EditStream =
      grpc::ServerReaderWriter<amend::v1::StreamEditsResponse, amend::v1::StreamEditsRequest>;
  class StreamHandler;
  using BatchKey = std::pair<std::string, int64_t>;

  std::vector<amend::v1::EditBatchStatus> Take(const std::string& session, int64_t offset,
                                               amend::v1::Promotion promotion,
                                               amend::v1::FailurePolicy failure,
                                               const amend::v1::EditBatch& batch);
  void Solve(amend::v1::Promotion promotion, amend::v1::FailurePolicy failure,
             const amend::v1::EditBatch& batch, amend::v1::EditBatchStatus* status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t NextOffset(const std::string& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  grpc::Status Resolve(const amend::v1::RevisionSelector& at, int64_t* revision) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string Answer(int64_t revision, const std::string& prompt) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int32_t WordId(const std::string& word) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FillLabel(amend::v1::Label* label) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const FakeServerOptions options_;
  std::string address_;
  mutable absl::Mutex mutex_;
  std::map<std::string, int32_t> words_ ABSL_GUARDED_BY(mutex_);
  // What each revision answers.
  std::vector<std::map<std::string, std::string>> models_ ABSL_GUARDED_BY(mutex_);
  std::vector<amend::v1::Revision> revisions_ ABSL_GUARDED_BY(mutex_);
  std::map<BatchKey, amend::v1::EditBatchStatus> ledger_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::vector<amend::v1::EditBatch>> received_ ABSL_GUARDED_BY(mutex_);
  int64_t live_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t moves_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t solved_ ABSL_GUARDED_BY(mutex_) = 0;
  int max_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  int streams_ ABSL_GUARDED_BY(mutex_) = 0;
  int refused_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, amend::v1::Backup> backups_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace amend::client

#endif  // AMEND_CLIENT_TESTING_FAKE_SERVER_H_
