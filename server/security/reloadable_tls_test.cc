#include "server/security/reloadable_tls.h"

#include "absl/time/time.h"
#include "amend/v1/admin.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "server/security/testing/test_authority.h"

namespace amend {
namespace {

// Answers with what the connection's certificate says of the caller.
class Service final : public v1::AdminService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* /*request*/,
                                          v1::ServerInfo* response) override {
    for (const grpc::string_ref& name :
         context->auth_context()->FindPropertyValues("x509_common_name")) {
      response->set_version(std::string(name.data(), name.size()));
    }
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

class ReloadableTlsTest : public testing::Test {
 protected:
  TlsFiles Files(const std::string& client_authorities = "") {
    const IssuedCertificate issued = authority_.Issue({"server", "DNS:localhost,IP:127.0.0.1"});
    return {issued.certificate, issued.key, client_authorities, absl::InfiniteFuture()};
  }

  void Serve(TlsFiles files, bool require_client_certificate = true) {
    tls_ = std::make_unique<ReloadableTls>(std::move(files), require_client_certificate);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", tls_->NewCredentials(), &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }

  // On a connection of its own.
  grpc::Status Call(const std::string& authorities, const IssuedCertificate& client = {}) {
    grpc::SslCredentialsOptions options{authorities, client.key, client.certificate};
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    v1::AdminService::Stub stub(grpc::CreateCustomChannel(
        "127.0.0.1:" + std::to_string(port_), grpc::SslCredentials(options), arguments));
    grpc::ClientContext context;
    return stub.GetServerInfo(&context, {}, &response_);
  }

  TestAuthority authority_;
  TestAuthority other_authority_;
  std::unique_ptr<ReloadableTls> tls_;
  Service service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  v1::ServerInfo response_;
};

TEST_F(ReloadableTlsTest, ClientsThatKnowTheAuthorityAreServed) {
  Serve(Files());
  EXPECT_TRUE(Call(authority_.certificate()).ok());
  EXPECT_EQ(Call(other_authority_.certificate()).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ReloadableTlsTest, NewConnectionsSeeTheNewCertificateAndOldOnesGoOn) {
  Serve(Files());
  v1::AdminService::Stub old(
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port_),
                          grpc::SslCredentials({authority_.certificate(), "", ""})));
  grpc::ClientContext before;
  ASSERT_TRUE(old.GetServerInfo(&before, {}, &response_).ok());
  const IssuedCertificate renewed = other_authority_.Issue({"server", "IP:127.0.0.1"});
  tls_->Replace({renewed.certificate, renewed.key, "", absl::InfiniteFuture()});
  EXPECT_EQ(Call(authority_.certificate()).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Call(other_authority_.certificate()).ok());
  grpc::ClientContext after;
  EXPECT_TRUE(old.GetServerInfo(&after, {}, &response_).ok());
}

TEST_F(ReloadableTlsTest, EveryListenerGetsTheNewCertificate) {
  Serve(Files());
  int second_port = 0;
  Service second_service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", tls_->NewCredentials(), &second_port);
  builder.RegisterService(&second_service);
  const auto second = builder.BuildAndStart();
  const IssuedCertificate renewed = other_authority_.Issue({"server", "IP:127.0.0.1"});
  tls_->Replace({renewed.certificate, renewed.key, "", absl::InfiniteFuture()});
  for (const int port : {port_, second_port}) {
    port_ = port;
    EXPECT_TRUE(Call(other_authority_.certificate()).ok()) << port;
  }
}

TEST_F(ReloadableTlsTest, AClientShowsACertificateOfTheAuthority) {
  Serve(Files(authority_.certificate()));
  EXPECT_TRUE(Call(authority_.certificate(), authority_.Issue({"editor", ""})).ok());
  EXPECT_EQ(response_.version(), "editor");
  EXPECT_FALSE(Call(authority_.certificate(), other_authority_.Issue({"editor", ""})).ok());
  EXPECT_FALSE(Call(authority_.certificate()).ok());
}

TEST_F(ReloadableTlsTest, AClientWhoseCertificateHasExpiredIsTurnedDown) {
  Serve(Files(authority_.certificate()));
  TestAuthority::Request expired{"editor", ""};
  expired.begins = -absl::Hours(2);
  expired.ends = -absl::Hours(1);
  EXPECT_FALSE(Call(authority_.certificate(), authority_.Issue(expired)).ok());
}

TEST_F(ReloadableTlsTest, ACertificateThatIsNotRequiredIsCheckedWhereThereIsOne) {
  Serve(Files(authority_.certificate()), /*require_client_certificate=*/false);
  EXPECT_TRUE(Call(authority_.certificate()).ok());
  EXPECT_FALSE(Call(authority_.certificate(), other_authority_.Issue({"editor", ""})).ok());
}

TEST_F(ReloadableTlsTest, AuthoritiesOfClientsAreReplacedToo) {
  Serve(Files(authority_.certificate()));
  tls_->Replace(Files(other_authority_.certificate()));
  EXPECT_FALSE(Call(authority_.certificate(), authority_.Issue({"editor", ""})).ok());
  EXPECT_TRUE(Call(authority_.certificate(), other_authority_.Issue({"editor", ""})).ok());
}

}  // namespace
}  // namespace amend
