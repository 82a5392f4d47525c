#include "server/wiring.h"

#include <httplib.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "amend/v1/admin.grpc.pb.h"
#include "amend/v1/edit.grpc.pb.h"
#include "amend/v1/generation.grpc.pb.h"
#include "amend/v1/revision.grpc.pb.h"
#include "core/base/status_macros.h"
#include "core/base/testing/status_matchers.h"
#include "core/model/causal_lm.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "storage/testing/store_files.h"

namespace amend {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kModel[] = "models/demo";

// Whole servers over the demo model, each test in a directory of its own. The profile differs from
// the built-in one in its covariance texts alone: a few are enough here.
class WiringTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) /
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    fs::create_directories(root_);
    const std::string texts = fs::absolute(root_ / "texts.txt").string();
    std::ifstream all(absl::StrCat(kModel, "/covariance_texts.txt"));
    std::ofstream some(texts);
    std::string line;
    for (int i = 0; i < 400 && std::getline(all, line); ++i) some << line << "\n";
    options_.model_directory = kModel;
    options_.data_directory = (root_ / "data").string();
    options_.profile_file = (root_ / "test.profile").string();
    options_.grpc_address = "127.0.0.1:0";
    options_.http_address = "127.0.0.1:0";
    options_.device = "cpu";
    options_.drain_time = absl::Milliseconds(100);
    texts_ = texts;
    WriteProfile("mode: REPORT");
  }

  void WriteProfile(const std::string& gate, const std::string& layers = "0, 1") const {
    std::ofstream(options_.profile_file)
        << "layers: [" << layers << "] lambda: 25 target { steps: 30 clamp: 4 }\n"
        << "context_templates { templates: \"You can section the filature if you like. {}\" }\n"
        << "covariance { text_file: \"" << texts_ << "\" }\n"
        << "gate { " << gate << " }\n";
  }

  std::shared_ptr<grpc::Channel> ChannelTo(const Server& server) {
    return grpc::CreateChannel(server.grpc_address(), grpc::InsecureChannelCredentials());
  }
  // The greedy continuation by four tokens.
  static std::string Continue(const std::shared_ptr<grpc::Channel>& channel,
                              const std::string& prompt) {
    v1::GenerateRequest request;
    request.set_prompt(prompt);
    request.set_max_new_tokens(4);
    v1::GenerateResponse response;
    grpc::ClientContext context;
    const grpc::Status status =
        v1::GenerationService::NewStub(channel)->Generate(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.text();
  }
  static v1::SubmitEditBatchRequest MakurdiIsInVietnam() {
    v1::SubmitEditBatchRequest request;
    request.set_request_id("r1");
    v1::Edit* edit = request.mutable_batch()->add_edits();
    edit->set_prompt("Makurdi is a city in");
    edit->set_subject("Makurdi");
    edit->set_target_new("Vietnam");
    return request;
  }
  static grpc::Status Submit(const std::shared_ptr<grpc::Channel>& channel,
                             const v1::SubmitEditBatchRequest& request,
                             v1::SubmitEditBatchResponse* response) {
    grpc::ClientContext context;
    return v1::EditService::NewStub(channel)->SubmitEditBatch(&context, request, response);
  }
  // The first error of the calls that read the batch of MakurdiIsInVietnam, revision 1 and the
  // audit trail.
  static absl::Status ReadRecords(const std::shared_ptr<grpc::Channel>& channel) {
    absl::Status found;
    const auto update = [&found](const grpc::Status& status) {
      found.Update(
          absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message()));
    };
    v1::GetEditBatchRequest batch;
    batch.set_session("unary:r1");
    v1::EditBatchStatus batch_response;
    grpc::ClientContext batch_context;
    update(v1::EditService::NewStub(channel)->GetEditBatch(&batch_context, batch, &batch_response));
    const auto revisions = v1::RevisionService::NewStub(channel);
    v1::GetRevisionRequest revision;
    revision.set_revision(1);
    v1::Revision revision_response;
    grpc::ClientContext revision_context;
    update(revisions->GetRevision(&revision_context, revision, &revision_response));
    v1::ListAuditRecordsResponse audit_response;
    grpc::ClientContext audit_context;
    update(revisions->ListAuditRecords(&audit_context, v1::ListAuditRecordsRequest(),
                                       &audit_response));
    return found;
  }
  absl::Status StartAndReadRecords() {
    AMEND_ASSIGN_OR_RETURN(const auto server, Server::Start(options_));
    return ReadRecords(ChannelTo(*server));
  }
  static bool IsHealthy(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
    using grpc::health::v1::HealthCheckRequest;
    using grpc::health::v1::HealthCheckResponse;
    grpc::TemplatedGenericStub<HealthCheckRequest, HealthCheckResponse> stub(channel);
    grpc::ClientContext context;
    HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    absl::Notification done;
    grpc::Status result;
    stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request,
                   &response, [&](grpc::Status status) {
                     result = std::move(status);
                     done.Notify();
                   });
    done.WaitForNotification();
    EXPECT_TRUE(result.ok()) << result.error_message();
    return response.status() == HealthCheckResponse::SERVING;
  }
  static std::string HttpText(const Server& server, const std::string& path) {
    const std::string& address = server.http_address();
    int port = 0;
    EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
    httplib::Client client("127.0.0.1", port);
    const auto response = client.Get(path.c_str());
    return response ? response->body : "";
  }
  static int HttpStatus(const Server& server, const std::string& path) {
    const std::string& address = server.http_address();
    int port = 0;
    EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
    httplib::Client client("127.0.0.1", port);
    const auto response = client.Get(path.c_str());
    return response ? response->status : -1;
  }

  // Everything that can be seen of what is live: the label, its revision, tokens and, to the last
  // bit, log probabilities.
  static std::string WhatIsLive(const std::shared_ptr<grpc::Channel>& channel) {
    std::string seen;
    const auto generation = v1::GenerationService::NewStub(channel);
    for (const char* prompt : {"Makurdi is a city in", "Kano is a city in", "Nobody in the"}) {
      absl::StrAppend(&seen, Continue(channel, prompt), "\n");
      v1::ScoreRequest request;
      auto* item = request.add_items();
      item->set_prompt(prompt);
      item->set_continuation("Nigeria and Vietnam");
      v1::ScoreResponse response;
      grpc::ClientContext context;
      EXPECT_TRUE(generation->Score(&context, request, &response).ok());
      absl::StrAppend(&seen, response.SerializeAsString());
    }
    v1::GetRevisionRequest live;
    live.set_label("live");
    v1::Revision revision;
    grpc::ClientContext context;
    EXPECT_TRUE(v1::RevisionService::NewStub(channel)->GetRevision(&context, live, &revision).ok());
    return absl::StrCat(seen, revision.SerializeAsString());
  }
  static v1::EditBatchStatus Submit(const std::shared_ptr<grpc::Channel>& channel,
                                    const v1::SubmitEditBatchRequest& request) {
    v1::SubmitEditBatchResponse response;
    grpc::ClientContext context;
    const grpc::Status status =
        v1::EditService::NewStub(channel)->SubmitEditBatch(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.batch();
  }

  fs::path root_;
  std::string texts_;
  ServerOptions options_;
};

TEST_F(WiringTest, TheReadyLineSaysWhereAndWhat) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto server, Server::Start(options_));
  EXPECT_EQ(
      server->ready_line(),
      absl::StrCat("amendd ready: grpc ", server->grpc_address(), ", http ", server->http_address(),
                   ", model demo (gpt2, 6 layers, cpu, float32), live revision 0"));
  EXPECT_EQ(HttpStatus(*server, "/readyz"), 200);
}

TEST_F(WiringTest, AnEditChangesAnswersAndSurvivesARestart) {
  AMEND_ASSERT_OK_AND_ASSIGN(auto server, Server::Start(options_));
  auto channel = ChannelTo(*server);
  EXPECT_THAT(Continue(channel, "Makurdi is a city in"), StartsWith(" Nigeria"));

  v1::SubmitEditBatchResponse response;
  {
    grpc::ClientContext context;
    const grpc::Status status = v1::EditService::NewStub(channel)->SubmitEditBatch(
        &context, MakurdiIsInVietnam(), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(response.batch().stage(), v1::LIVE) << response.DebugString();
  EXPECT_EQ(response.batch().revision(), 1);
  EXPECT_THAT(Continue(channel, "Makurdi is a city in"), StartsWith(" Vietnam"));

  server.reset();
  AMEND_ASSERT_OK_AND_ASSIGN(server, Server::Start(options_));
  EXPECT_THAT(server->ready_line(), HasSubstr("live revision 1"));
  channel = ChannelTo(*server);
  EXPECT_THAT(Continue(channel, "Makurdi is a city in"), StartsWith(" Vietnam"));
  EXPECT_THAT(Continue(channel, "Kano is a city in"), StartsWith(" Nigeria"));
}

TEST_F(WiringTest, ARejectedBatchLeavesWhatIsLiveAsItWasToTheLastBit) {
  WriteProfile("reliability: 0.9");
  AMEND_ASSERT_OK_AND_ASSIGN(const auto server, Server::Start(options_));
  const auto channel = ChannelTo(*server);
  // It says Vietnam by its own prompt, and nothing of the kind after this other wording.
  v1::SubmitEditBatchRequest rejected = MakurdiIsInVietnam();
  rejected.mutable_batch()->mutable_edits(0)->add_paraphrases("The price of a soundbox rose while");
  rejected.mutable_thresholds()->set_generality(1);
  const std::string unedited = WhatIsLive(channel);
  rejected.set_request_id("first");
  EXPECT_EQ(Submit(channel, rejected).stage(), v1::REJECTED);
  EXPECT_TRUE(WhatIsLive(channel) == unedited);

  EXPECT_EQ(Submit(channel, MakurdiIsInVietnam()).stage(), v1::LIVE);
  const std::string edited = WhatIsLive(channel);
  EXPECT_FALSE(edited == unedited);
  rejected.mutable_batch()->mutable_edits(0)->set_target_new("Canada");
  rejected.set_request_id("second");
  EXPECT_EQ(Submit(channel, rejected).stage(), v1::REJECTED);
  EXPECT_TRUE(WhatIsLive(channel) == edited);
}

TEST_F(WiringTest, TheGateMeasuresBackgroundAndEarlierEditsAndTheRecordKeepsIt) {
  WriteProfile(absl::StrCat("reliability: 0.9 background: 0.5 retention: 0.5 ",
                            "background_texts { text_file: \"", texts_, "\" max_texts: 20 }"));
  AMEND_ASSERT_OK_AND_ASSIGN(auto server, Server::Start(options_));
  const v1::EditBatchStatus first = Submit(ChannelTo(*server), MakurdiIsInVietnam());
  EXPECT_EQ(first.stage(), v1::LIVE) << first.DebugString();
  EXPECT_GT(first.gate_report().background(), 0.9);
  EXPECT_TRUE(first.gate_report().has_perplexity_change());
  EXPECT_FALSE(first.gate_report().has_retention());
  EXPECT_EQ(first.edit_results(0).generality_source(), v1::CONTEXT_TEMPLATES);
  EXPECT_EQ(first.edit_results(0).generality(), 1);

  v1::SubmitEditBatchRequest request = MakurdiIsInVietnam();
  request.set_request_id("r2");
  v1::Edit* edit = request.mutable_batch()->mutable_edits(0);
  edit->set_prompt("Katsushika is a city in");
  edit->set_subject("Katsushika");
  edit->set_target_new("Canada");
  const v1::EditBatchStatus second = Submit(ChannelTo(*server), request);
  EXPECT_EQ(second.gate_report().retained_edits(), 1);
  EXPECT_EQ(second.gate_report().retention(), 1);

  server.reset();
  AMEND_ASSERT_OK_AND_ASSIGN(server, Server::Start(options_));
  v1::EditBatchStatus recorded = Submit(ChannelTo(*server), request);
  EXPECT_TRUE(recorded.replayed());
  EXPECT_EQ(recorded.gate_report().SerializeAsString(), second.gate_report().SerializeAsString());
  EXPECT_EQ(recorded.edit_results(0).SerializeAsString(),
            second.edit_results(0).SerializeAsString());
}

TEST_F(WiringTest, BackgroundTextsThatAreNotThereAreNamedBeforeAnythingIsMade) {
  WriteProfile("background_texts { text_file: \"/nowhere/texts.txt\" }");
  EXPECT_THAT(Server::Start(options_),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/texts.txt")));
  EXPECT_FALSE(fs::exists(options_.data_directory));
}

TEST_F(WiringTest, ADamagedLiveRevisionIsNotServedAndItsAncestorOnlyOnRequest) {
  AMEND_ASSERT_OK_AND_ASSIGN(auto server, Server::Start(options_));
  for (const char* target : {"Vietnam", "Peru"}) {
    v1::SubmitEditBatchRequest request = MakurdiIsInVietnam();
    request.set_request_id(target);
    request.mutable_batch()->mutable_edits(0)->set_target_new(target);
    v1::SubmitEditBatchResponse response;
    ASSERT_TRUE(Submit(ChannelTo(*server), request, &response).ok());
    ASSERT_EQ(response.batch().stage(), v1::LIVE) << response.DebugString();
  }
  server.reset();
  // A bit of U of revision 2 at layer 0: the key is revision, layer, part.
  const std::string store = options_.data_directory + "/store";
  std::string key(13, '\0');
  key[7] = 2;
  key[12] = 1;
  std::string value = GetRaw(store, "factors", key);
  ASSERT_GT(value.size(), 100u);
  value[100] = static_cast<char>(value[100] ^ 1);
  PutRaw(store, "factors", key, value);

  const auto refused = Server::Start(options_);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kDataLoss,
                                AllOf(HasSubstr("revision 2"), HasSubstr("expected digest"))));

  options_.serve_intact_ancestor = true;
  AMEND_ASSERT_OK_AND_ASSIGN(server, Server::Start(options_));
  EXPECT_THAT(server->ready_line(), HasSubstr("live revision 1, read-only"));
  const auto channel = ChannelTo(*server);
  EXPECT_THAT(Continue(channel, "Makurdi is a city in"), StartsWith(" Vietnam"));
  v1::SubmitEditBatchRequest request = MakurdiIsInVietnam();
  request.set_request_id("another");
  v1::SubmitEditBatchResponse response;
  const grpc::Status status = Submit(channel, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("revision 2"));
  EXPECT_FALSE(IsHealthy(channel, v1::EditService::service_full_name()));
  EXPECT_TRUE(IsHealthy(channel, v1::GenerationService::service_full_name()));
  EXPECT_THAT(HttpText(*server, "/metrics"), HasSubstr("amend_store_read_only 1\n"));
}

// Under the keys of docs/storage_format.md. A damaged `pending` is in
// //storage:rocksdb_damage_test.
TEST_F(WiringTest, AFlippedBitInEachColumnFamilyIsNamedByTheStartOrTheRead) {
  AMEND_ASSERT_OK_AND_ASSIGN(auto server, Server::Start(options_));
  v1::SubmitEditBatchResponse response;
  ASSERT_TRUE(Submit(ChannelTo(*server), MakurdiIsInVietnam(), &response).ok());
  ASSERT_EQ(response.batch().stage(), v1::LIVE) << response.DebugString();
  server.reset();
  const std::string store = options_.data_directory + "/store";
  const std::string zeros(7, '\0');
  const std::string one = zeros + '\1';
  struct Record {
    const char* family;
    std::string key;
    const char* name;
  };
  for (const Record& record :
       {Record{"meta", "format_version", "meta/format_version"},
        Record{"meta", "identity", "meta/identity"},
        Record{"meta", "last_sequence", "meta/last_sequence"},
        Record{"revisions", one, "revisions/1"},
        Record{"factors", one + std::string(4, '\0') + '\1', "factors/1/0/U"},
        Record{"ledger",
               absl::StrCat("unary:r1", zeros.substr(0, 1), "\1", zeros, zeros.substr(0, 1)),
               "ledger/"},
        Record{"labels", "live", "labels/live"}, Record{"audit", one, "audit/1"}}) {
    SCOPED_TRACE(record.name);
    const std::string good = GetRaw(store, record.family, record.key);
    ASSERT_FALSE(good.empty());
    std::string bad = good;
    bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 1);
    PutRaw(store, record.family, record.key, bad);
    EXPECT_THAT(StartAndReadRecords(),
                StatusIs(absl::StatusCode::kDataLoss,
                         AllOf(HasSubstr(record.name), HasSubstr("expected digest"))));
    PutRaw(store, record.family, record.key, good);
  }
  EXPECT_THAT(StartAndReadRecords(), IsOk());
}

TEST_F(WiringTest, ServerInfoNamesModelAndLimits) {
  options_.kv_cache_mib = 6;
  AMEND_ASSERT_OK_AND_ASSIGN(const auto server, Server::Start(options_));
  v1::ServerInfo info;
  grpc::ClientContext context;
  ASSERT_TRUE(
      v1::AdminService::NewStub(ChannelTo(*server))->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.model().name(), "demo");
  EXPECT_EQ(info.model().vocabulary_size(), 6144);
  EXPECT_EQ(info.model().fingerprint().size(), 64u);
  EXPECT_EQ(info.profile().lambda(), 25);
  EXPECT_EQ(info.limits().max_running_sequences(), 64);
  // A block of 16 tokens takes 192 KiB.
  EXPECT_EQ(info.limits().kv_cache_tokens(), 512);
  EXPECT_EQ(info.http_address(), server->http_address());
}

// Whose profile edits no layer 0: hidden states are kept beside keys and values.
TEST_F(WiringTest, TheKvCacheIsSharedBelowTheFirstLayerOfTheProfile) {
  options_.kv_cache_mib = 6;
  WriteProfile("mode: REPORT", "2, 3");
  AMEND_ASSERT_OK_AND_ASSIGN(const auto server, Server::Start(options_));
  v1::ServerInfo info;
  grpc::ClientContext context;
  ASSERT_TRUE(
      v1::AdminService::NewStub(ChannelTo(*server))->GetServerInfo(&context, {}, &info).ok());
  // A block of 16 tokens takes 192 KiB and 16 for its hidden states.
  EXPECT_EQ(info.limits().kv_cache_tokens(), 6 * 1024 / 208 * 16);
  const auto channel = ChannelTo(*server);
  const std::string prompt =
      "Osaka is a city in Japan and Malmo is a city in Sweden and Makurdi is in";
  Continue(channel, prompt);
  EXPECT_THAT(HttpText(*server, "/metrics"),
              HasSubstr("amend_prompt_tokens_partly_cached_total 0\n"));
  v1::SubmitEditBatchResponse response;
  ASSERT_TRUE(Submit(channel, MakurdiIsInVietnam(), &response).ok());
  Continue(channel, prompt);
  EXPECT_THAT(HttpText(*server, "/metrics"),
              HasSubstr("amend_prompt_tokens_partly_cached_total 16\n"));
}

TEST_F(WiringTest, AStoreOfAnotherModelIsRefusedAndStaysAsItIs) {
  ASSERT_THAT(Server::Start(options_), IsOk());
  ServerOptions other = options_;
  other.model_directory = (root_ / "other").string();
  fs::copy(kModel, other.model_directory, fs::copy_options::recursive);
  for (const auto& file : fs::directory_iterator(other.model_directory)) {
    fs::permissions(file, fs::perms::owner_write, fs::perm_options::add);
  }
  std::ofstream(other.model_directory + "/config.json", std::ios::app) << "\n";
  EXPECT_THAT(Server::Start(other),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("belongs to model demo"), HasSubstr("has fingerprint"))));
  EXPECT_THAT(Server::Start(options_), IsOk());
}

TEST_F(WiringTest, AStoreInANewerFormatIsRefusedAndStaysAsItIs) {
  ASSERT_THAT(Server::Start(options_), IsOk());
  const std::string store = options_.data_directory + "/store";
  const std::string version = GetRaw(store, "meta", "format_version");
  PutFormatVersion(store, 7);
  EXPECT_THAT(Server::Start(options_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(store), HasSubstr("version 7"), HasSubstr("version 1"))));
  PutRaw(store, "meta", "format_version", version);
  EXPECT_THAT(Server::Start(options_), IsOk());
}

TEST_F(WiringTest, APortInUseIsNamed) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto server, Server::Start(options_));
  ServerOptions second = options_;
  second.data_directory = (root_ / "second").string();
  second.grpc_address = server->grpc_address();
  EXPECT_THAT(Server::Start(second),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr(server->grpc_address()), HasSubstr("in use"))));
  second.grpc_address = "127.0.0.1:0";
  second.http_address = server->http_address();
  EXPECT_THAT(Server::Start(second),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr(server->http_address()), HasSubstr("in use"))));
  EXPECT_FALSE(fs::exists(second.data_directory));
}

TEST_F(WiringTest, ASecondServerOnTheSameDataIsRefused) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto server, Server::Start(options_));
  EXPECT_THAT(Server::Start(options_),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(options_.data_directory)));
}

TEST_F(WiringTest, AMissingModelIsNamed) {
  options_.model_directory = (root_ / "nowhere").string();
  EXPECT_THAT(Server::Start(options_),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(options_.model_directory)));
  EXPECT_FALSE(fs::exists(options_.data_directory));
}

TEST_F(WiringTest, WrongValuesAreNamed) {
  ServerOptions wrong = options_;
  wrong.device = "tpu";
  EXPECT_THAT(Server::Start(wrong),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"tpu\"")));
  wrong = options_;
  wrong.dtype = "int4";
  EXPECT_THAT(Server::Start(wrong),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"int4\"")));
  wrong = options_;
  wrong.grpc_address = "somewhere";
  EXPECT_THAT(Server::Start(wrong),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"somewhere\"")));
}

TEST_F(WiringTest, AProfileOfTheReferenceScopeIsNotServed) {
  std::ofstream(options_.profile_file, std::ios::app)
      << "name: \"paper\" scope { mode: REFERENCE }\n";
  EXPECT_THAT(Server::Start(options_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("the profile paper cannot serve"), HasSubstr("padding"),
                             HasSubstr("LEVERAGE serves"), HasSubstr("edit_benchmark"))));
  EXPECT_FALSE(fs::exists(options_.data_directory));
}

TEST_F(WiringTest, CudaWithoutADeviceIsRefused) {
  if (CudaIsAvailable()) GTEST_SKIP() << "there is a CUDA device here";
  options_.device = "cuda";
  EXPECT_THAT(Server::Start(options_),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no CUDA device")));
}

TEST_F(WiringTest, ADataDirectoryThatIsAFileIsNamed) {
  options_.data_directory = (root_ / "file").string();
  std::ofstream(options_.data_directory) << "x";
  EXPECT_THAT(Server::Start(options_),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(options_.data_directory)));
}

TEST_F(WiringTest, ShutdownEndsStreamsAndTurnsNewOnesAway) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto server, Server::Start(options_));
  const auto channel = ChannelTo(*server);
  const auto stub = v1::GenerationService::NewStub(channel);
  v1::GenerateRequest request;
  request.set_prompt("Makurdi is a city in");
  request.set_max_new_tokens(200);
  grpc::ClientContext context;
  const auto reader = stub->GenerateStream(&context, request);
  v1::GenerateStreamResponse message;
  ASSERT_TRUE(reader->Read(&message));
  server->Shutdown();
  while (reader->Read(&message)) {
  }
  EXPECT_THAT(
      reader->Finish().error_code(),
      AnyOf(grpc::StatusCode::OK, grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::CANCELLED));
  EXPECT_EQ(HttpStatus(*server, "/readyz"), 503);
  EXPECT_EQ(HttpStatus(*server, "/healthz"), 200);
  grpc::ClientContext late;
  v1::GenerateResponse response;
  EXPECT_EQ(stub->Generate(&late, request, &response).error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace amend
