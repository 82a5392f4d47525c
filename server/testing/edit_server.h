#ifndef AMEND_SERVER_TESTING_EDIT_SERVER_H_
#define AMEND_SERVER_TESTING_EDIT_SERVER_H_

#include <memory>
#include <string>
#include <utility>

#include "amend/v1/edit.grpc.pb.h"
#include "amend/v1/revision.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/grpcpp.h"
#include "server/edit_service.h"
#include "server/revision_service.h"
#include "server/task_executor.h"
#include "server/testing/edit_harness.h"

namespace amend {

// The reason of an error that came over the wire.
inline std::string ReasonOfRpc(const google::rpc::Status& status) {
  google::rpc::ErrorInfo info;
  for (const auto& detail : status.details()) {
    if (detail.Is<google::rpc::ErrorInfo>()) detail.UnpackTo(&info);
  }
  return info.reason();
}
inline std::string ReasonOfRpc(const grpc::Status& status) {
  google::rpc::Status rpc;
  rpc.ParseFromString(status.error_details());
  return ReasonOfRpc(rpc);
}

// A stream as a client sees it: calls block.
class EditStreamClient {
 public:
  EditStreamClient(v1::EditService::Stub* stub, const std::string& session,
                   v1::Promotion promotion = v1::PROMOTE_WHEN_VALIDATED)
      : stream_(stub->StreamEdits(&context_)) {
    v1::StreamEditsRequest request;
    request.mutable_start()->set_session(session);
    request.mutable_start()->set_promotion(promotion);
    request.mutable_start()->mutable_thresholds()->set_reliability(0.9);
    stream_->Write(request);
  }
  ~EditStreamClient() {
    if (!finished_) context_.TryCancel();
    Finish();
  }

  void SendBatch(int64_t offset, const std::string& target,
                 const std::string& subject = "subject") {
    v1::StreamEditsRequest request;
    request.mutable_batch()->set_offset(offset);
    *request.mutable_batch()->mutable_batch()->add_edits() = ToProto(MakeEdit(target, subject));
    stream_->Write(request);
  }
  void SendFlush() {
    v1::StreamEditsRequest request;
    request.mutable_flush();
    stream_->Write(request);
  }
  void HalfClose() { stream_->WritesDone(); }
  // The next response; empty once there is none.
  v1::StreamEditsResponse Read() {
    v1::StreamEditsResponse response;
    stream_->Read(&response);
    return response;
  }
  // The last status of this offset; other offsets and progress are passed over.
  v1::EditBatchStatus ReadLast(int64_t offset) {
    v1::StreamEditsResponse response;
    while (stream_->Read(&response)) {
      if (response.batch().offset() == offset && IsLast(response.batch())) break;
    }
    return response.batch();
  }
  void Cancel() { context_.TryCancel(); }
  grpc::Status Finish() {
    if (!finished_) {
      finished_ = true;
      v1::StreamEditsResponse rest;
      while (stream_->Read(&rest)) {
      }
      status_ = stream_->Finish();
    }
    return status_;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::StreamEditsRequest, v1::StreamEditsResponse>>
      stream_;
  bool finished_ = false;
  grpc::Status status_;
};

// EditService and RevisionService behind a real gRPC server on a free port of this machine.
struct EditServer : EditHarness {
  EditServer() : EditServer(/*credits=*/16) {}
  explicit EditServer(int credits) : executor(TaskExecutor::Options()) {
    EditService::Options options;
    options.credits = credits;
    options.default_thresholds.reliability = 0.9;
    edit_service = std::make_unique<EditService>(intake.get(), coordinator.get(), &store, &executor,
                                                 CheckFakeEdits, options);
    revision_service =
        std::make_unique<RevisionService>(coordinator.get(), &store, &changes, &executor);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(edit_service.get());
    builder.RegisterService(revision_service.get());
    server = builder.BuildAndStart();
    const auto channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                                             grpc::InsecureChannelCredentials());
    edits = v1::EditService::NewStub(channel);
    revisions = v1::RevisionService::NewStub(channel);
  }
  ~EditServer() {
    // Streams that still wait are cancelled by the deadline.
    server->Shutdown(std::chrono::system_clock::now());
    server->Wait();
  }

  TaskExecutor executor;
  std::unique_ptr<EditService> edit_service;
  std::unique_ptr<RevisionService> revision_service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<v1::EditService::Stub> edits;
  std::unique_ptr<v1::RevisionService::Stub> revisions;
};

}  // namespace amend

#endif  // AMEND_SERVER_TESTING_EDIT_SERVER_H_
