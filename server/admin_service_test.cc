#include "server/admin_service.h"

#include <memory>
#include <utility>

#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

TEST(AdminServiceTest, ServerInfoJoinsWhatIsFixedWithWhatIsTrueNow) {
  InMemoryRevisionStore store;
  AdminService::Options options;
  options.fixed.set_version("1.2.3");
  options.fixed.mutable_model()->set_layers(6);
  options.store = &store;
  TaskExecutor executor({});
  options.executor = &executor;
  options.edit_queue_depth = [] { return 3; };
  options.running_sequences = [] { return 2; };
  options.waiting_sequences = [] { return 1; };
  AdminService service(std::move(options));
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  const auto stub = v1::AdminService::NewStub(server->InProcessChannel({}));
  grpc::ClientContext context;
  v1::ServerInfo info;
  ASSERT_TRUE(stub->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.version(), "1.2.3");
  EXPECT_EQ(info.model().layers(), 6);
  EXPECT_EQ(info.live().name(), "live");
  EXPECT_EQ(info.live().revision(), 0);
  EXPECT_EQ(info.live().etag(), "0");
  EXPECT_EQ(info.latest_revision(), 0);
  EXPECT_EQ(info.edit_queue_depth(), 3);
  EXPECT_EQ(info.running_sequences(), 2);
  EXPECT_EQ(info.waiting_sequences(), 1);
}

}  // namespace
}  // namespace amend
