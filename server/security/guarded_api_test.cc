#include "server/security/guarded_api.h"

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/base/digest.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "server/security/access_interceptor.h"
#include "server/security/reloadable_tls.h"
#include "server/security/rpc_roles.h"
#include "server/security/testing/test_authority.h"
#include "server/unreadable_request.h"

namespace amend {
namespace {

using ::testing::HasSubstr;

constexpr v1::Role kRoles[] = {v1::READER, v1::USER, v1::EDITOR, v1::PROMOTER, v1::ADMIN};

// The token of the principal that has this role alone.
std::string TokenOf(v1::Role role) { return absl::StrCat("token of ", v1::Role_Name(role)); }

// A principal for each role, known by token or by certificate.
std::string PolicyText(const std::string& default_limits = "") {
  std::string text = absl::StrCat("default_limits { ", default_limits, " } ");
  for (const v1::Role role : kRoles) {
    const std::string name = v1::Role_Name(role);
    absl::StrAppend(&text, "principals { name: '", name, "' roles: ", name, " token_sha256: '",
                    Sha256Hex(TokenOf(role)), "' certificate_uris: 'urn:", name, "' } ");
  }
  return text;
}

// Answers with who calls.
class Revisions final : public v1::RevisionService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetRevision(grpc::CallbackServerContext* context,
                                        const v1::GetRevisionRequest* /*request*/,
                                        v1::Revision* response) override {
    ++calls;
    response->set_session(ActorOf(*context));
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  std::atomic<int> calls = 0;
};

// Generates as many tokens as it is asked for.
class Generation final : public v1::GenerationService::CallbackService {
 public:
  grpc::ServerUnaryReactor* Generate(grpc::CallbackServerContext* context,
                                     const v1::GenerateRequest* request,
                                     v1::GenerateResponse* /*response*/) override {
    CallerOf(*context)->AddGeneratedTokens(request->max_new_tokens());
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

// What a call of any method came to.
struct Outcome {
  grpc::Status status;
  std::string reason;
  bool has_retry_delay = false;
};

Outcome ToOutcome(const grpc::Status& status) {
  Outcome outcome{status, "", false};
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details()) {
    google::rpc::ErrorInfo info;
    if (detail.UnpackTo(&info)) outcome.reason = info.reason();
    outcome.has_retry_delay |= detail.Is<google::rpc::RetryInfo>();
  }
  return outcome;
}

class GuardedApiTest : public testing::Test {
 protected:
  GuardedApiTest() {
    AddGuarded(&edits_, &guarded_);
    AddGuarded(&revisions_, &guarded_);
    AddGuarded(&generation_, &guarded_);
    AddGuarded(&admin_, &guarded_);
  }

  void SetPolicy(const std::string& default_limits = "") {
    AMEND_ASSERT_OK_AND_ASSIGN(auto policy,
                               AccessPolicy::Parse("policy", PolicyText(default_limits)));
    authorizer_.SetPolicy(std::move(policy));
  }

  void Serve(const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials, &port_);
    builder.RegisterService(&guarded_);
    builder.SetContextAllocator(MakeCallContextAllocator());
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
    creators.push_back(MakeUnreadableRequestFactory());
    creators.push_back(MakeAccessFactory(&authorizer_));
    builder.experimental().SetInterceptorCreators(std::move(creators));
    server_ = builder.BuildAndStart();
    channel_ = Channel(grpc::InsecureChannelCredentials());
  }

  std::shared_ptr<grpc::Channel> Channel(
      const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    return grpc::CreateChannel(absl::StrCat("127.0.0.1:", port_), credentials);
  }

  // One message out, the end of the call back, for a method of any type.
  Outcome Call(const std::string& path, const std::string& token, const std::string& request = "") {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    if (!token.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareCall(&context, path, &queue);
    const grpc::Slice slice(request);
    const grpc::ByteBuffer message(&slice, 1);
    grpc::Status status;
    call->StartCall(Tag(0));
    Next(&queue);
    call->WriteLast(message, grpc::WriteOptions(), Tag(1));
    Next(&queue);
    grpc::ByteBuffer response;
    do {
      call->Read(&response, Tag(2));
    } while (Next(&queue));
    call->Finish(&status, Tag(3));
    Next(&queue);
    return ToOutcome(status);
  }

  static void* Tag(intptr_t number) { return reinterpret_cast<void*>(number); }
  static bool Next(grpc::CompletionQueue* queue) {
    void* tag = nullptr;
    bool ok = false;
    queue->Next(&tag, &ok);
    return ok;
  }

  v1::EditService::CallbackService edits_;
  Revisions revisions_;
  Generation generation_;
  v1::AdminService::CallbackService admin_;
  GuardedService guarded_;
  Authorizer authorizer_;
  TestAuthority authority_;
  std::unique_ptr<ReloadableTls> tls_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

// The paths of all RPCs of all services.
std::vector<std::string> Paths() {
  std::vector<std::string> paths;
  for (const google::protobuf::FileDescriptor* file :
       {v1::EditBatch::descriptor()->file(), v1::Revision::descriptor()->file(),
        v1::GenerateRequest::descriptor()->file(), v1::ServerInfo::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) {
      for (int j = 0; j < file->service(i)->method_count(); ++j) {
        paths.push_back(absl::StrCat("/", file->service(i)->full_name(), "/",
                                     file->service(i)->method(j)->name()));
      }
    }
  }
  return paths;
}

TEST_F(GuardedApiTest, EveryRpcIsThereForItsRoleAndRefusedToAllOthers) {
  SetPolicy();
  Serve(grpc::InsecureServerCredentials());
  for (const std::string& path : Paths()) {
    for (const v1::Role role : kRoles) {
      const Outcome outcome = Call(path, TokenOf(role));
      if (role != RuleOf(path).role) {
        EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::PERMISSION_DENIED)
            << path << " " << v1::Role_Name(role);
        EXPECT_EQ(outcome.reason, "ROLE_MISSING") << path;
        continue;
      }
      // Most services of this test have no methods: their generated default says so, which for the
      // test is as good as an answer.
      EXPECT_TRUE(outcome.status.ok() ||
                  outcome.status.error_code() == grpc::StatusCode::UNIMPLEMENTED ||
                  outcome.reason == "INVALID_REQUEST")
          << path << " " << v1::Role_Name(role) << ": " << outcome.status.error_message();
    }
  }
}

TEST_F(GuardedApiTest, EveryRpcIsRefusedWithoutAndWithUnknownCredentials) {
  SetPolicy();
  Serve(grpc::InsecureServerCredentials());
  for (const std::string& path : Paths()) {
    Outcome outcome = Call(path, "");
    EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    EXPECT_EQ(outcome.reason, "CREDENTIALS_MISSING") << path;
    outcome = Call(path, "nonsense");
    EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    EXPECT_EQ(outcome.reason, "CREDENTIALS_UNKNOWN") << path;
  }
}

TEST_F(GuardedApiTest, ARefusedCallNeverReachesTheService) {
  SetPolicy();
  Serve(grpc::InsecureServerCredentials());
  Call("/amend.v1.RevisionService/GetRevision", "");
  Call("/amend.v1.RevisionService/GetRevision", TokenOf(v1::USER));
  EXPECT_EQ(revisions_.calls, 0);
  EXPECT_TRUE(Call("/amend.v1.RevisionService/GetRevision", TokenOf(v1::READER)).status.ok());
  EXPECT_EQ(revisions_.calls, 1);
}

TEST_F(GuardedApiTest, WhoMayNotCallDoesNotHearThatTheRequestIsUnreadable) {
  SetPolicy();
  Serve(grpc::InsecureServerCredentials());
  const std::string path = "/amend.v1.RevisionService/GetRevision";
  EXPECT_EQ(Call(path, TokenOf(v1::READER), "\xff").reason, "INVALID_REQUEST");
  EXPECT_EQ(Call(path, TokenOf(v1::USER), "\xff").reason, "ROLE_MISSING");
  EXPECT_EQ(Call(path, "", "\xff").reason, "CREDENTIALS_MISSING");
}

TEST_F(GuardedApiTest, AMethodThatDoesNotExistIsUnimplemented) {
  SetPolicy();
  Serve(grpc::InsecureServerCredentials());
  EXPECT_EQ(
      Call("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "").status.error_code(),
      grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(GuardedApiTest, AMethodOfAServiceThatIsElsewhereIsUnimplemented) {
  SetPolicy();
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  GuardedService only_generation;
  AddGuarded(&generation_, &only_generation);
  builder.RegisterService(&only_generation);
  builder.SetContextAllocator(MakeCallContextAllocator());
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
  creators.push_back(MakeUnreadableRequestFactory());
  creators.push_back(MakeAccessFactory(&authorizer_));
  builder.experimental().SetInterceptorCreators(std::move(creators));
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  channel_ = Channel(grpc::InsecureChannelCredentials());
  EXPECT_EQ(Call("/amend.v1.AdminService/GetServerInfo", TokenOf(v1::ADMIN)).status.error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(GuardedApiTest, WithoutTheInterceptorNothingIsServed) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(&guarded_);
  server_ = builder.BuildAndStart();
  channel_ = Channel(grpc::InsecureChannelCredentials());
  EXPECT_EQ(Call("/amend.v1.RevisionService/GetRevision", "").status.error_code(),
            grpc::StatusCode::INTERNAL);
  EXPECT_EQ(revisions_.calls, 0);
}

TEST_F(GuardedApiTest, WithoutAPolicyTheActorIsThePeer) {
  Serve(grpc::InsecureServerCredentials());
  grpc::ClientContext context;
  v1::Revision response;
  ASSERT_TRUE(v1::RevisionService::Stub(channel_).GetRevision(&context, {}, &response).ok());
  EXPECT_THAT(response.session(), HasSubstr("127.0.0.1"));
}

TEST_F(GuardedApiTest, ACertificateMakesAPrincipalWhoIsTheActor) {
  SetPolicy();
  const IssuedCertificate server = authority_.Issue({"server", "IP:127.0.0.1"});
  tls_ = std::make_unique<ReloadableTls>(
      TlsFiles{server.certificate, server.key, authority_.certificate(), absl::InfiniteFuture()},
      /*require_client_certificate=*/true);
  Serve(tls_->NewCredentials());
  const IssuedCertificate reader = authority_.Issue({"somebody", "URI:urn:READER"});
  channel_ =
      Channel(grpc::SslCredentials({authority_.certificate(), reader.key, reader.certificate}));
  grpc::ClientContext context;
  v1::Revision response;
  ASSERT_TRUE(v1::RevisionService::Stub(channel_).GetRevision(&context, {}, &response).ok());
  EXPECT_EQ(response.session(), "READER");
  EXPECT_EQ(Call("/amend.v1.GenerationService/Generate", "").reason, "ROLE_MISSING");
}

TEST_F(GuardedApiTest, LimitsOfAPrincipalHoldOverCalls) {
  SetPolicy("requests_per_second: 0.001 request_burst: 2");
  Serve(grpc::InsecureServerCredentials());
  const std::string path = "/amend.v1.RevisionService/GetRevision";
  EXPECT_TRUE(Call(path, TokenOf(v1::READER)).status.ok());
  EXPECT_TRUE(Call(path, TokenOf(v1::READER)).status.ok());
  const Outcome third = Call(path, TokenOf(v1::READER));
  EXPECT_EQ(third.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(third.reason, "RATE_LIMITED");
  EXPECT_TRUE(third.has_retry_delay);
  EXPECT_EQ(revisions_.calls, 2);
}

TEST_F(GuardedApiTest, CallsThatHaveEndedCountNoMore) {
  SetPolicy("concurrent_calls: 1");
  Serve(grpc::InsecureServerCredentials());
  for (int i = 0; i < 50; ++i) {
    const Outcome outcome = Call("/amend.v1.RevisionService/GetRevision", TokenOf(v1::READER));
    ASSERT_TRUE(outcome.status.ok()) << i << " " << outcome.status.error_message();
  }
}

TEST_F(GuardedApiTest, ServicesCountTokensForTheCaller) {
  SetPolicy("generated_tokens_per_minute: 1");
  Serve(grpc::InsecureServerCredentials());
  v1::GenerateRequest request;
  request.set_max_new_tokens(1000);
  const std::string path = "/amend.v1.GenerationService/Generate";
  EXPECT_TRUE(Call(path, TokenOf(v1::USER), request.SerializeAsString()).status.ok());
  EXPECT_EQ(Call(path, TokenOf(v1::USER)).reason, "QUOTA_EXCEEDED");
}

}  // namespace
}  // namespace amend
