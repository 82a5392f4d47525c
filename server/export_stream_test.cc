#include "server/export_stream.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "amend/v1/revision.grpc.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/testing/edit_server.h"

namespace amend {
namespace {

using testing::HasSubstr;

// Exports of two small files from a model that is not there.
class ExportStreamTest : public testing::Test, public v1::RevisionService::CallbackService {
 protected:
  ExportStreamTest() {
    serving_.AddRevision(std::make_shared<const Snapshot>(Snapshot{Revision(1), nullptr}));
    EXPECT_TRUE(serving_.MoveLabel("live", Revision(1)).ok());
    environment_.serving = &serving_;
    environment_.executor = &executor_;
    environment_.model_fingerprint = "abc";
    environment_.open = [this](const Snapshot& snapshot, bool projections_only) {
      return Open(snapshot, projections_only);
    };
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    stub_ = v1::RevisionService::NewStub(server_->InProcessChannel({}));
  }
  ~ExportStreamTest() override {
    server_->Shutdown();
    executor_.Stop();
  }

  grpc::ServerWriteReactor<v1::ExportRevisionResponse>* ExportRevision(
      grpc::CallbackServerContext*, const v1::ExportRevisionRequest* request) override {
    return ExportStream::Start(&environment_, *request);
  }

  // Pieces "0", "1", "2" ... of which the third ends the first file and the last the second.
  absl::StatusOr<ExportSource> Open(const Snapshot& snapshot, bool projections_only) {
    if (!open_status_.ok()) return open_status_;
    absl::MutexLock lock(&mutex_);
    EXPECT_LE(snapshot.revision, Revision(1));
    ExportSource source;
    source.files = {{projections_only ? "projections" : "first", 3}, {"second", pieces_ - 3}};
    source.next = [this, pieces = pieces_,
                   next = 0]() mutable -> absl::StatusOr<std::optional<ExportPiece>> {
      absl::MutexLock lock_made(&mutex_);
      if (next == fail_at_) return absl::DataLossError("the model is another");
      if (next == pieces) return std::optional<ExportPiece>();
      ExportPiece piece{next < 3 ? 0 : 1, std::to_string(next % 10), ""};
      if (next == 2 || next == pieces - 1) piece.sha256 = "digest";
      ++next;
      return std::optional<ExportPiece>(piece);
    };
    return source;
  }

  std::vector<v1::ExportRevisionResponse> Run(const v1::ExportRevisionRequest& request,
                                              grpc::Status* status) {
    grpc::ClientContext context;
    const auto stream = stub_->ExportRevision(&context, request);
    std::vector<v1::ExportRevisionResponse> messages;
    v1::ExportRevisionResponse message;
    while (stream->Read(&message)) messages.push_back(message);
    *status = stream->Finish();
    return messages;
  }
  // Of exports that begin from now on.
  void SetPieces(int64_t pieces) {
    absl::MutexLock lock(&mutex_);
    pieces_ = pieces;
  }

  absl::Mutex mutex_;
  int64_t pieces_ ABSL_GUARDED_BY(mutex_) = 5;
  // Set before the first call.
  int64_t fail_at_ = -1;
  absl::Status open_status_;
  ServingModel serving_{nullptr, nullptr};
  TaskExecutor executor_{TaskExecutor::Options()};
  ExportStream::Environment environment_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::RevisionService::Stub> stub_;
};

TEST_F(ExportStreamTest, TheFilesAreAnnouncedThenSentInOrder) {
  grpc::Status status;
  const auto messages = Run({}, &status);
  EXPECT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(messages.size(), 6u);
  EXPECT_EQ(messages[0].start().revision(), 1);
  EXPECT_EQ(messages[0].start().base_fingerprint(), "abc");
  ASSERT_EQ(messages[0].start().files_size(), 2);
  EXPECT_EQ(messages[0].start().files(1).name(), "second");
  EXPECT_EQ(messages[0].start().files(1).size(), 2);
  std::string files;
  for (size_t i = 1; i < messages.size(); ++i) {
    EXPECT_EQ(messages[i].chunk().file(), i <= 3 ? 0 : 1);
    EXPECT_EQ(messages[i].chunk().sha256(), i == 3 || i == 5 ? "digest" : "");
    files += messages[i].chunk().bytes();
  }
  EXPECT_EQ(files, "01234");
}

TEST_F(ExportStreamTest, ARevisionIsAskedForByNumberOrLabel) {
  grpc::Status status;
  v1::ExportRevisionRequest request;
  request.set_revision(0);
  request.set_projections_only(true);
  const auto messages = Run(request, &status);
  ASSERT_FALSE(messages.empty());
  EXPECT_EQ(messages[0].start().revision(), 0);
  EXPECT_EQ(messages[0].start().files(0).name(), "projections");
  request.set_revision(7);
  EXPECT_TRUE(Run(request, &status).empty());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOfRpc(status), "REVISION_NOT_FOUND");
  request.set_label("canary");
  EXPECT_TRUE(Run(request, &status).empty());
  EXPECT_EQ(ReasonOfRpc(status), "LABEL_NOT_FOUND");
}

TEST_F(ExportStreamTest, AModelDirectoryThatChangedEndsTheStream) {
  fail_at_ = 2;
  grpc::Status status;
  EXPECT_EQ(Run({}, &status).size(), 3u);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(ReasonOfRpc(status), "MODEL_CHANGED");
}

TEST_F(ExportStreamTest, AnExportThatCannotBeginIsAnError) {
  open_status_ = absl::NotFoundError("no weights");
  grpc::Status status;
  EXPECT_TRUE(Run({}, &status).empty());
  EXPECT_THAT(status.error_message(), HasSubstr("no weights"));
}

TEST_F(ExportStreamTest, AClientThatDoesNotReadHoldsNoThread) {
  SetPieces(1 << 20);
  grpc::ClientContext slow;
  const auto stream = stub_->ExportRevision(&slow, {});
  v1::ExportRevisionResponse first;
  EXPECT_TRUE(stream->Read(&first));
  // The one thread of the executor serves others meanwhile.
  SetPieces(5);
  grpc::Status status;
  EXPECT_EQ(Run({}, &status).size(), 6u);
  slow.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ExportStreamTest, MoreThanTheBoundAreRefusedUntilOneEnds) {
  SetPieces(1 << 30);
  grpc::ClientContext contexts[kMaxExports];
  std::vector<std::unique_ptr<grpc::ClientReader<v1::ExportRevisionResponse>>> streams;
  for (grpc::ClientContext& context : contexts) {
    streams.push_back(stub_->ExportRevision(&context, {}));
    v1::ExportRevisionResponse first;
    EXPECT_TRUE(streams.back()->Read(&first));
  }
  grpc::Status status;
  EXPECT_TRUE(Run({}, &status).empty());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOfRpc(status), "QUEUE_FULL");
  for (grpc::ClientContext& context : contexts) context.TryCancel();
  for (const auto& stream : streams) stream->Finish();
}

}  // namespace
}  // namespace amend
