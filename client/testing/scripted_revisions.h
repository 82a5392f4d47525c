#ifndef AMEND_CLIENT_TESTING_SCRIPTED_REVISIONS_H_
#define AMEND_CLIENT_TESTING_SCRIPTED_REVISIONS_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "amend/v1/revision.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/grpcpp.h"

namespace amend::client {

// A RevisionService that says what a test gave it and remembers what it was asked. Thread-safe.
class ScriptedRevisions final : public amend::v1::RevisionService::Service {
 public:
  // Listens on a free port of 127.0.0.1.
  ScriptedRevisions() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }
  ~ScriptedRevisions() override { server_->Shutdown(); }

  const std::string& address() const { return address_; }

  // The next answer of `method`; without one it is UNIMPLEMENTED. A stream sends all there are.
  void Say(const std::string& method, const google::protobuf::Message& response) {
    absl::MutexLock lock(&mutex_);
    answers_[method].push_back(response.SerializeAsString());
  }
  // How `method` ends once it has no answer left.
  void Fail(const std::string& method, grpc::StatusCode code, const std::string& message,
            const std::string& reason) {
    google::rpc::Status status;
    status.set_code(code);
    status.set_message(message);
    google::rpc::ErrorInfo info;
    info.set_reason(reason);
    info.set_domain("amend");
    status.add_details()->PackFrom(info);
    absl::MutexLock lock(&mutex_);
    errors_[method] = grpc::Status(code, message, status.SerializeAsString());
  }
  // The last request of `method`, in protobuf's short text.
  std::string Asked(const std::string& method) const {
    absl::MutexLock lock(&mutex_);
    const auto found = asked_.find(method);
    return found == asked_.end() ? "" : found->second;
  }

#define AMEND_SCRIPTED(method, request_type, response_type)                         \
  grpc::Status method(grpc::ServerContext*, const amend::v1::request_type* request, \
                      amend::v1::response_type* response) override {                \
    return Answer(#method, *request, response);                                     \
  }
  AMEND_SCRIPTED(CompareRevisions, CompareRevisionsRequest, CompareRevisionsResponse)
  AMEND_SCRIPTED(ValidateRevision, ValidateRevisionRequest, ValidateRevisionResponse)
  AMEND_SCRIPTED(ListLabels, ListLabelsRequest, ListLabelsResponse)
  AMEND_SCRIPTED(SetLabel, SetLabelRequest, SetLabelResponse)
  AMEND_SCRIPTED(DeleteLabel, DeleteLabelRequest, DeleteLabelResponse)
  AMEND_SCRIPTED(PinRevision, PinRevisionRequest, Revision)
  AMEND_SCRIPTED(UnpinRevision, UnpinRevisionRequest, Revision)
  AMEND_SCRIPTED(DeleteRevision, DeleteRevisionRequest, Revision)
  AMEND_SCRIPTED(UndeleteRevision, UndeleteRevisionRequest, Revision)
  AMEND_SCRIPTED(PurgeRevisions, PurgeRevisionsRequest, PurgeRevisionsResponse)
  AMEND_SCRIPTED(ListAuditRecords, ListAuditRecordsRequest, ListAuditRecordsResponse)
#undef AMEND_SCRIPTED

  grpc::Status WatchRevisions(
      grpc::ServerContext*, const amend::v1::WatchRevisionsRequest* request,
      grpc::ServerWriter<amend::v1::WatchRevisionsResponse>* writer) override {
    amend::v1::WatchRevisionsResponse event;
    grpc::Status status = Answer("WatchRevisions", *request, &event);
    for (; status.ok(); status = Answer("WatchRevisions", *request, &event)) {
      if (!writer->Write(event)) return grpc::Status::CANCELLED;
    }
    return status;
  }

 private:
  grpc::Status Answer(const std::string& method, const google::protobuf::Message& request,
                      google::protobuf::Message* response) {
    absl::MutexLock lock(&mutex_);
    asked_[method] = request.ShortDebugString();
    std::deque<std::string>& answers = answers_[method];
    if (answers.empty()) {
      const auto error = errors_.find(method);
      return error == errors_.end() ? grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no answer")
                                    : error->second;
    }
    response->ParseFromString(answers.front());
    answers.pop_front();
    return grpc::Status::OK;
  }

  std::string address_;
  mutable absl::Mutex mutex_;
  std::map<std::string, std::deque<std::string>> answers_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, grpc::Status> errors_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> asked_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace amend::client

#endif  // AMEND_CLIENT_TESTING_SCRIPTED_REVISIONS_H_
