#include "server/verify_stream.h"

#include <memory>
#include <vector>

#include "absl/synchronization/notification.h"
#include "amend/v1/admin.grpc.pb.h"
#include "gtest/gtest.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

// A store whose verification tells of `steps` steps and waits where it is told to.
class SlowStore : public InMemoryRevisionStore {
 public:
  absl::StatusOr<StoreVerification> Verify(const VerificationObserver& observer) const override {
    StoreVerification so_far;
    started.Notify();
    for (int64_t i = 1; i <= steps; ++i) {
      so_far.records = i;
      if (!observer(so_far)) {
        ended_early.Notify();
        return absl::CancelledError("ended");
      }
    }
    return so_far;
  }

  int64_t steps = 0;
  mutable absl::Notification started;
  mutable absl::Notification ended_early;
};

class VerifyStreamTest : public testing::Test, public v1::AdminService::CallbackService {
 protected:
  VerifyStreamTest() {
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    stub_ = v1::AdminService::NewStub(server_->InProcessChannel({}));
  }
  ~VerifyStreamTest() override { server_->Shutdown(); }

  grpc::ServerWriteReactor<v1::VerifyStoreResponse>* VerifyStore(
      grpc::CallbackServerContext*, const v1::VerifyStoreRequest*) override {
    return VerifyStream::Start(&store_, &executor_);
  }

  SlowStore store_;
  // Before the executor, whose end waits for its tasks.
  absl::Notification busy_;
  absl::Notification go_;
  TaskExecutor executor_{TaskExecutor::Options{1, 1}};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::AdminService::Stub> stub_;
};

TEST_F(VerifyStreamTest, ProgressGrowsAndTheReportIsLast) {
  store_.steps = 10000;
  grpc::ClientContext context;
  const auto stream = stub_->VerifyStore(&context, {});
  std::vector<v1::VerifyStoreResponse> responses;
  v1::VerifyStoreResponse response;
  while (stream->Read(&response)) responses.push_back(response);
  EXPECT_TRUE(stream->Finish().ok());
  ASSERT_FALSE(responses.empty());
  for (size_t i = 1; i < responses.size(); ++i) {
    EXPECT_GE(responses[i].records(), responses[i - 1].records());
    EXPECT_FALSE(responses[i - 1].has_report());
  }
  EXPECT_TRUE(responses.back().has_report());
  EXPECT_EQ(responses.back().records(), 10000);
}

TEST_F(VerifyStreamTest, AClientThatDoesNotReadHoldsNothingUp) {
  store_.steps = 10000;
  grpc::ClientContext context;
  const auto stream = stub_->VerifyStore(&context, {});
  absl::Notification next;
  store_.started.WaitForNotification();
  // Runs once the verification is over, though nothing was read.
  ASSERT_TRUE(executor_.Submit([&] { next.Notify(); }).ok());
  next.WaitForNotification();
  v1::VerifyStoreResponse last;
  while (stream->Read(&last)) {
  }
  EXPECT_TRUE(last.has_report());
}

TEST_F(VerifyStreamTest, AClientThatGoesAwayEndsTheVerification) {
  store_.steps = INT64_MAX;
  grpc::ClientContext context;
  const auto stream = stub_->VerifyStore(&context, {});
  store_.started.WaitForNotification();
  context.TryCancel();
  store_.ended_early.WaitForNotification();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(VerifyStreamTest, AFullExecutorIsAnError) {
  ASSERT_TRUE(executor_
                  .Submit([this] {
                    busy_.Notify();
                    go_.WaitForNotification();
                  })
                  .ok());
  busy_.WaitForNotification();
  while (executor_.Submit([] {}).ok()) {
  }
  grpc::ClientContext context;
  const auto stream = stub_->VerifyStore(&context, {});
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  go_.Notify();
}

}  // namespace
}  // namespace amend
