#include "server/admin_service.h"

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "server/testing/edit_server.h"
#include "storage/testing/in_memory_backups.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

using testing::HasSubstr;

class AdminServiceTest : public testing::Test {
 protected:
  AdminServiceTest() {
    options_.fixed.set_version("1.2.3");
    options_.fixed.mutable_model()->set_layers(6);
    options_.store = &store_;
    options_.executor = &executor_;
    options_.maintenance = &maintenance_;
    options_.backups = &backups_;
    options_.clock = [] { return absl::FromUnixSeconds(1700000000); };
    options_.edit_queue_depth = [] { return 3; };
    options_.running_sequences = [] { return 2; };
    options_.waiting_sequences = [] { return 1; };
    options_.refresh = [](v1::ServerInfo* info) { info->mutable_limits()->set_edit_credits(16); };
    options_.log = &log_;
    EXPECT_TRUE(store_.Initialize({"abc", "demo", "", {}, ""}).ok());
  }
  ~AdminServiceTest() override {
    if (server_ != nullptr) server_->Shutdown();
  }

  v1::AdminService::Stub& stub() {
    if (stub_ == nullptr) {
      service_ = std::make_unique<AdminService>(options_);
      grpc::ServerBuilder builder;
      builder.RegisterService(service_.get());
      server_ = builder.BuildAndStart();
      stub_ = v1::AdminService::NewStub(server_->InProcessChannel({}));
    }
    return *stub_;
  }
  grpc::Status Create(v1::Backup* backup) {
    grpc::ClientContext context;
    return stub().CreateBackup(&context, {}, backup);
  }
  v1::ListBackupsResponse List() {
    grpc::ClientContext context;
    v1::ListBackupsResponse response;
    EXPECT_TRUE(stub().ListBackups(&context, {}, &response).ok());
    return response;
  }
  grpc::Status Delete(int64_t number) {
    grpc::ClientContext context;
    v1::DeleteBackupRequest request;
    request.set_number(number);
    v1::DeleteBackupResponse response;
    return stub().DeleteBackup(&context, request, &response);
  }

  EventLog log_{[] {
    EventLog::Options options;
    options.write = [](absl::string_view) {};
    return options;
  }()};
  InMemoryRevisionStore store_;
  InMemoryBackups backups_{&store_, 2};
  TaskExecutor executor_{TaskExecutor::Options()};
  TaskExecutor maintenance_{TaskExecutor::Options()};
  AdminService::Options options_;
  std::unique_ptr<AdminService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::AdminService::Stub> stub_;
};

TEST_F(AdminServiceTest, ServerInfoJoinsWhatIsFixedWithWhatIsTrueNow) {
  grpc::ClientContext context;
  v1::ServerInfo info;
  ASSERT_TRUE(stub().GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.version(), "1.2.3");
  EXPECT_EQ(info.model().layers(), 6);
  EXPECT_EQ(info.live().name(), "live");
  EXPECT_EQ(info.live().revision(), 0);
  EXPECT_EQ(info.live().etag(), "0");
  EXPECT_EQ(info.latest_revision(), 0);
  EXPECT_EQ(info.edit_queue_depth(), 3);
  EXPECT_EQ(info.running_sequences(), 2);
  EXPECT_EQ(info.waiting_sequences(), 1);
  EXPECT_EQ(info.limits().edit_credits(), 16);
}

TEST_F(AdminServiceTest, ABackupSaysWhenItWasMadeAndOfWhat) {
  v1::Backup backup;
  ASSERT_TRUE(Create(&backup).ok());
  EXPECT_EQ(backup.number(), 1);
  EXPECT_EQ(backup.create_time().seconds(), 1700000000);
  EXPECT_EQ(backup.model_fingerprint(), "abc");
  EXPECT_EQ(backup.store_digest().size(), 64u);
  const v1::ListBackupsResponse listed = List();
  ASSERT_EQ(listed.backups_size(), 1);
  EXPECT_EQ(listed.backups(0).SerializeAsString(), backup.SerializeAsString());
}

TEST_F(AdminServiceTest, ABackupIsDeletedOnce) {
  v1::Backup backup;
  ASSERT_TRUE(Create(&backup).ok());
  EXPECT_TRUE(Delete(1).ok());
  const grpc::Status again = Delete(1);
  EXPECT_EQ(again.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOfRpc(again), "BACKUP_NOT_FOUND");
  EXPECT_EQ(List().backups_size(), 0);
}

TEST_F(AdminServiceTest, WithoutABackupDirectoryThereAreNoBackups) {
  options_.backups = nullptr;
  v1::Backup backup;
  for (const grpc::Status& status : {Create(&backup), Delete(1)}) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(ReasonOfRpc(status), "BACKUPS_NOT_CONFIGURED");
    EXPECT_THAT(status.error_message(), HasSubstr("--backup-dir"));
  }
}

// A full backup disk is not a full store: edits go on, and nobody is told to retry them.
TEST_F(AdminServiceTest, AFailedBackupHasAReasonOfItsOwn) {
  backups_.SetCreateStatus(absl::ResourceExhaustedError("no space"));
  v1::Backup backup;
  const grpc::Status status = Create(&backup);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOfRpc(status), "BACKUP_FAILED");
}

TEST_F(AdminServiceTest, VerifyStoreNamesTheDamage) {
  StoreStep step;
  step.revision.emplace();
  step.revision->revision = Revision(1);
  step.revision->state = RevisionState::kValidated;
  step.factors.emplace();
  ASSERT_TRUE(store_.Commit(step).ok());
  store_.SetReadFactorsStatus(Revision(1), absl::DataLossError("a flipped bit"));
  grpc::ClientContext context;
  const auto stream = stub().VerifyStore(&context, {});
  v1::VerifyStoreResponse last;
  while (stream->Read(&last)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  ASSERT_EQ(last.report().damages_size(), 1);
  EXPECT_EQ(last.report().damage_count(), 1);
  EXPECT_EQ(last.report().latest_revision(), 1);
  EXPECT_THAT(last.report().damages(0).description(), HasSubstr("a flipped bit"));
}

TEST_F(AdminServiceTest, TheConfigurationIsThatOfTheServer) {
  options_.config = [] {
    v1::GetConfigResponse response;
    response.mutable_config()->set_threads(3);
    response.add_reloadable_fields("log_level");
    return response;
  };
  grpc::ClientContext context;
  v1::GetConfigResponse response;
  ASSERT_TRUE(stub().GetConfig(&context, {}, &response).ok());
  EXPECT_EQ(response.config().threads(), 3);
  EXPECT_EQ(response.reloadable_fields(0), "log_level");
}

TEST_F(AdminServiceTest, AReloadSaysWhatChanged) {
  options_.reload = []() -> absl::StatusOr<v1::ReloadConfigResponse> {
    v1::ReloadConfigResponse response;
    response.add_changed_fields("drain_seconds");
    return response;
  };
  grpc::ClientContext context;
  v1::ReloadConfigResponse response;
  ASSERT_TRUE(stub().ReloadConfig(&context, {}, &response).ok());
  EXPECT_EQ(response.changed_fields(0), "drain_seconds");
}

TEST_F(AdminServiceTest, AReloadThatIsRefusedSaysWhy) {
  options_.reload = []() -> absl::StatusOr<v1::ReloadConfigResponse> {
    return absl::NotFoundError("cannot read the configuration a.conf");
  };
  grpc::ClientContext context;
  v1::ReloadConfigResponse response;
  const grpc::Status status = stub().ReloadConfig(&context, {}, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOfRpc(status), "CONFIG_INVALID");
  EXPECT_THAT(status.error_message(), HasSubstr("a.conf"));
}

TEST_F(AdminServiceTest, TheLogLevelIsSetAndAWrongOneNamed) {
  v1::SetLogLevelRequest request;
  request.set_level("debug");
  v1::SetLogLevelResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub().SetLogLevel(&context, request, &response).ok());
  EXPECT_EQ(response.previous_level(), "info");
  EXPECT_EQ(log_.level(), LogLevel::kDebug);
  request.set_level("loud");
  grpc::ClientContext again;
  const grpc::Status status = stub().SetLogLevel(&again, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("loud"));
  EXPECT_EQ(log_.level(), LogLevel::kDebug);
}

TEST_F(AdminServiceTest, DrainBeginsToDrainAndSaysWhatGoesOn) {
  std::atomic<bool> drained = false;
  options_.drain = [&] { drained = true; };
  grpc::ClientContext context;
  v1::DrainResponse response;
  ASSERT_TRUE(stub().Drain(&context, {}, &response).ok());
  EXPECT_TRUE(drained);
  EXPECT_EQ(response.running_sequences(), 2);
  EXPECT_EQ(response.waiting_sequences(), 1);
  EXPECT_EQ(response.edit_queue_depth(), 3);
}

}  // namespace
}  // namespace amend
