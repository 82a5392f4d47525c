#include "server/security/listener_check.h"

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;

SecurityOptions Secure() {
  SecurityOptions options;
  options.tls_certificate_file = "server.pem";
  options.tls_key_file = "server.key";
  options.policy_file = "policy.textproto";
  return options;
}

TEST(CheckListenersTest, LoopbackNeedsNothing) {
  EXPECT_THAT(CheckListeners({}, "127.0.0.1:50051"), IsOk());
}

TEST(CheckListenersTest, ElsewhereNeedsTlsAndAPolicy) {
  EXPECT_THAT(CheckListeners(Secure(), "0.0.0.0:50051"), IsOk());
  EXPECT_THAT(CheckListeners({}, "0.0.0.0:50051"),
              StatusIs(kRefused, AllOf(HasSubstr("--listen 0.0.0.0:50051"), HasSubstr("--tls-cert"),
                                       HasSubstr("--policy"), HasSubstr("--allow-insecure"))));
  SecurityOptions no_policy = Secure();
  no_policy.policy_file.clear();
  EXPECT_THAT(
      CheckListeners(no_policy, "[::]:50051"),
      StatusIs(kRefused, AllOf(HasSubstr("[::]:50051"), HasSubstr("not a policy (--policy)"),
                               Not(HasSubstr("--tls-cert")))));
  SecurityOptions no_tls;
  no_tls.policy_file = "policy.textproto";
  EXPECT_THAT(CheckListeners(no_tls, "10.0.0.1:1"),
              StatusIs(kRefused, AllOf(HasSubstr("TLS"), Not(HasSubstr("--policy")))));
}

TEST(CheckListenersTest, TheAdminAddressNeedsTheSame) {
  SecurityOptions options;
  options.admin_address = "0.0.0.0:50052";
  EXPECT_THAT(CheckListeners(options, "127.0.0.1:50051"),
              StatusIs(kRefused, HasSubstr("--admin-listen 0.0.0.0:50052")));
}

TEST(CheckListenersTest, WhatIsAllowedExplicitlyIsAllowed) {
  SecurityOptions options;
  options.allow_insecure = true;
  EXPECT_THAT(CheckListeners(options, "0.0.0.0:50051"), IsOk());
}

TEST(CheckListenersTest, CertificateAndKeyComeTogether) {
  SecurityOptions options = Secure();
  options.tls_key_file.clear();
  EXPECT_THAT(CheckListeners(options, "127.0.0.1:1"),
              StatusIs(kRefused, AllOf(HasSubstr("server.pem"), HasSubstr("--tls-key \"\""))));
}

TEST(CheckListenersTest, AuthoritiesOfClientsNeedTls) {
  SecurityOptions options;
  options.tls_client_ca_file = "clients.pem";
  EXPECT_THAT(CheckListeners(options, "127.0.0.1:1"), StatusIs(kRefused, HasSubstr("clients.pem")));
}

TEST(CheckConsoleTest, BeyondLoopbackTheConsoleNeedsAPolicy) {
  EXPECT_THAT(CheckConsole({}, "127.0.0.1:9464"), IsOk());
  EXPECT_THAT(CheckConsole({}, "0.0.0.0:9464"),
              StatusIs(kRefused, AllOf(HasSubstr("--http 0.0.0.0:9464"), HasSubstr("--policy"))));
  EXPECT_THAT(CheckConsole(Secure(), "0.0.0.0:9464"), IsOk());
  SecurityOptions options;
  options.allow_insecure = true;
  EXPECT_THAT(CheckConsole(options, "0.0.0.0:9464"), IsOk());
}

TEST(CheckListenersTest, AnAddressThatIsNoneIsNamed) {
  EXPECT_THAT(CheckListeners({}, "nonsense"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"nonsense\"")));
}

}  // namespace
}  // namespace amend
