#ifndef AMEND_SERVER_GENERATION_SERVICE_H_
#define AMEND_SERVER_GENERATION_SERVICE_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "amend/v1/generation.grpc.pb.h"
#include "amend/v1/generation.pb.h"
#include "core/tokenizer/tokenizer.h"
#include "server/generation_validation.h"
#include "server/scheduler.h"
#include "server/serving_model.h"
#include "server/serving_observer.h"

namespace amend {

// amend.v1.GenerationService over a scheduler: validates, resolves the revision once per request
// (it is held to the end of the request) and passes tokens on. Thread-safe; its methods run on gRPC
// threads, never block and never run the model.
//
// A stream holds at most `max_stream_messages` unread messages; its sequence pauses then. What the
// options point to outlives the service, and the gRPC server is shut down before the scheduler is
// destroyed.
class GenerationService final : public v1::GenerationService::CallbackService {
 public:
  struct Options {
    // ServingModel::Resolve. Required.
    std::function<absl::StatusOr<std::shared_ptr<const Snapshot>>(Revision)> resolve_revision;
    std::function<absl::StatusOr<std::shared_ptr<const Snapshot>>(absl::string_view)> resolve_label;
    const Tokenizer* tokenizer = nullptr;
    Scheduler* scheduler = nullptr;
    GenerationLimits limits;
    int max_stream_messages = 64;
    // May be null.
    ServingObserver* observer = nullptr;
  };

  explicit GenerationService(Options options);

  grpc::ServerUnaryReactor* Generate(grpc::CallbackServerContext* context,
                                     const v1::GenerateRequest* request,
                                     v1::GenerateResponse* response) override;
  grpc::ServerWriteReactor<v1::GenerateStreamResponse>* GenerateStream(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context,
                                  const v1::ScoreRequest* request,
                                  v1::ScoreResponse* response) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;

 private:
  // FAILED_PRECONDITION (MIN_REVISION_NOT_REACHED, naming both) below `min_revision`.
  absl::StatusOr<std::shared_ptr<const Snapshot>> Resolve(const v1::RevisionSelector& at,
                                                          int64_t min_revision) const;
  // A job without a sink.
  absl::StatusOr<GenerationJob> Plan(const grpc::CallbackServerContext& context,
                                     const v1::GenerateRequest& request) const;
  absl::StatusOr<ScoreJob> Plan(const grpc::CallbackServerContext& context,
                                const v1::ScoreRequest& request) const;
  // `status`, after it was counted.
  absl::Status Rejected(absl::Status status) const;

  const Options options_;
};

}  // namespace amend

#endif  // AMEND_SERVER_GENERATION_SERVICE_H_
