#include "server/security/authorizer.h"

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kUnauthenticated = absl::StatusCode::kUnauthenticated;
constexpr auto kDenied = absl::StatusCode::kPermissionDenied;
constexpr char kRead[] = "/amend.v1.RevisionService/ListRevisions";
constexpr char kEdit[] = "/amend.v1.EditService/StreamEdits";
constexpr char kGenerate[] = "/amend.v1.GenerationService/Generate";

CallCredentials Bearer(absl::string_view token) {
  CallCredentials credentials;
  credentials.authorization = absl::StrCat("Bearer ", token);
  return credentials;
}

CallCredentials Certificate(const std::string& uri) {
  CallCredentials credentials;
  credentials.certificate.uris = {uri};
  return credentials;
}

class AuthorizerTest : public testing::Test {
 protected:
  // "reader" has the token "r", "editor" the token "e" or a certificate of the URI "urn:editor",
  // and "user" the token "u".
  void SetPolicy(const std::string& limits = "") {
    Set(absl::StrCat("default_limits { ", limits, " } ", Principal("reader", "READER", "r"),
                     Principal("editor", "EDITOR certificate_uris: 'urn:editor'", "e"),
                     Principal("user", "USER", "u")));
  }
  void Set(const std::string& text) {
    AMEND_ASSERT_OK_AND_ASSIGN(auto policy, AccessPolicy::Parse("policy", text));
    authorizer_.SetPolicy(std::move(policy));
  }
  static std::string Principal(absl::string_view name, absl::string_view role,
                               absl::string_view token) {
    return absl::StrCat("principals { name: '", name, "' roles: ", role, " token_sha256: '",
                        Sha256Hex(token), "' } ");
  }

  absl::Time now_ = absl::FromUnixSeconds(1000);
  Authorizer authorizer_{[this] { return now_; }};
};

TEST_F(AuthorizerTest, WithoutAPolicyNobodyIsAsked) {
  CallCredentials credentials;
  credentials.peer = "ipv4:127.0.0.1:1";
  AMEND_ASSERT_OK_AND_ASSIGN(const auto caller, authorizer_.Admit(credentials, kEdit));
  EXPECT_EQ(caller->name(), "ipv4:127.0.0.1:1");
  EXPECT_THAT(caller->TakeEdits(1000000), IsOk());
}

TEST_F(AuthorizerTest, WithoutAPolicyACertificateStillNamesTheCaller) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto caller, authorizer_.Admit(Certificate("urn:x"), kEdit));
  EXPECT_EQ(caller->name(), "urn:x");
}

TEST_F(AuthorizerTest, APrincipalIsKnownByTokenOrCertificate) {
  SetPolicy();
  EXPECT_EQ((*authorizer_.Admit(Bearer("e"), kEdit))->name(), "editor");
  EXPECT_EQ((*authorizer_.Admit(Certificate("urn:editor"), kEdit))->name(), "editor");
}

TEST_F(AuthorizerTest, NoCredentialsAndUnknownOnesAreToldApart) {
  SetPolicy();
  const absl::Status missing = authorizer_.Admit({}, kRead).status();
  EXPECT_THAT(missing, StatusIs(kUnauthenticated));
  EXPECT_EQ(ReasonOf(missing), "CREDENTIALS_MISSING");
  CallCredentials basic;
  basic.authorization = "Basic r";
  CallCredentials empty;
  empty.authorization = "";
  for (const CallCredentials& credentials :
       {Bearer("nonsense"), Bearer(""), basic, empty, Certificate("urn:nobody")}) {
    const absl::Status unknown = authorizer_.Admit(credentials, kRead).status();
    EXPECT_THAT(unknown, StatusIs(kUnauthenticated));
    EXPECT_EQ(ReasonOf(unknown), "CREDENTIALS_UNKNOWN");
  }
}

TEST_F(AuthorizerTest, ATokenCountsBeforeACertificate) {
  SetPolicy();
  CallCredentials both = Certificate("urn:editor");
  both.authorization = "bearer r";
  EXPECT_EQ((*authorizer_.Admit(both, kRead))->name(), "reader");
  both.authorization = "Bearer nonsense";
  EXPECT_THAT(authorizer_.Admit(both, kEdit), StatusIs(kUnauthenticated));
}

TEST_F(AuthorizerTest, AnotherRoleIsDeniedAndNamed) {
  SetPolicy();
  const absl::Status denied = authorizer_.Admit(Bearer("r"), kEdit).status();
  EXPECT_THAT(denied, StatusIs(kDenied, AllOf(HasSubstr("amend.v1.EditService/StreamEdits"),
                                              HasSubstr("role editor"), HasSubstr("\"reader\""))));
  EXPECT_EQ(ReasonOf(denied), "ROLE_MISSING");
}

TEST_F(AuthorizerTest, HealthIsOpenToAll) {
  SetPolicy();
  EXPECT_THAT(authorizer_.Admit({}, "/grpc.health.v1.Health/Check"), IsOk());
}

TEST_F(AuthorizerTest, WhatIsNotInTheTableIsDeniedToAll) {
  EXPECT_THAT(authorizer_.Admit({}, "amend.v1.EditService/Nonsense"), StatusIs(kDenied));
  SetPolicy();
  EXPECT_THAT(authorizer_.Admit(Bearer("e"), "amend.v1.EditService/Nonsense"), StatusIs(kDenied));
  EXPECT_THAT(authorizer_.Admit({}, "amend.v1.EditService/Nonsense"), StatusIs(kUnauthenticated));
}

TEST_F(AuthorizerTest, ACallIsInProgressUntilItEndsOrIsForgotten) {
  SetPolicy("concurrent_calls: 1");
  AMEND_ASSERT_OK_AND_ASSIGN(auto first, authorizer_.Admit(Bearer("r"), kRead));
  EXPECT_THAT(authorizer_.Admit(Bearer("r"), kRead),
              StatusIs(absl::StatusCode::kResourceExhausted));
  // Those of others do not count.
  EXPECT_THAT(authorizer_.Admit(Bearer("e"), kEdit), IsOk());
  first->End();
  first->End();
  AMEND_ASSERT_OK_AND_ASSIGN(auto second, authorizer_.Admit(Bearer("r"), kRead));
  EXPECT_THAT(authorizer_.Admit(Bearer("r"), kRead),
              StatusIs(absl::StatusCode::kResourceExhausted));
  second.reset();
  EXPECT_THAT(authorizer_.Admit(Bearer("r"), kRead), IsOk());
}

TEST_F(AuthorizerTest, ARefusedCallIsNotInProgress) {
  SetPolicy("concurrent_calls: 1");
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(authorizer_.Admit(Bearer("r"), kEdit), StatusIs(kDenied));
  }
  EXPECT_THAT(authorizer_.Admit(Bearer("r"), kRead), IsOk());
}

TEST_F(AuthorizerTest, GeneratedTokensCountForThePrincipal) {
  SetPolicy("generated_tokens_per_minute: 60");
  AMEND_ASSERT_OK_AND_ASSIGN(auto caller, authorizer_.Admit(Bearer("u"), kGenerate));
  caller->AddGeneratedTokens(60);
  caller.reset();
  EXPECT_THAT(authorizer_.Admit(Bearer("u"), kGenerate),
              StatusIs(absl::StatusCode::kResourceExhausted));
  now_ += absl::Seconds(2);
  EXPECT_THAT(authorizer_.Admit(Bearer("u"), kGenerate), IsOk());
}

TEST_F(AuthorizerTest, ANewPolicyKeepsWhatWasUsed) {
  SetPolicy("edits_per_minute: 60");
  AMEND_ASSERT_OK_AND_ASSIGN(auto caller, authorizer_.Admit(Bearer("e"), kEdit));
  EXPECT_THAT(caller->TakeEdits(60), IsOk());
  SetPolicy("edits_per_minute: 60 concurrent_calls: 1");
  EXPECT_THAT(caller->TakeEdits(1), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(authorizer_.Admit(Bearer("e"), kEdit),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

// What a stream of the caller's came to: how often it was cancelled.
std::shared_ptr<int> Watch(Caller* caller) {
  auto cancelled = std::make_shared<int>(0);
  caller->CancelWhenRevoked([cancelled] { ++*cancelled; });
  return cancelled;
}

TEST_F(AuthorizerTest, AStreamIsCancelledOnceForTheReasonThatANewCallGets) {
  SetPolicy();
  AMEND_ASSERT_OK_AND_ASSIGN(const auto reader, authorizer_.Admit(Bearer("r"), kRead));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto user, authorizer_.Admit(Bearer("u"), kGenerate));
  const auto reads = Watch(reader.get());
  const auto generates = Watch(user.get());
  const std::string policy =
      absl::StrCat(Principal("reader", "READER", "another"), Principal("user", "EDITOR", "u"));
  for (int i = 0; i < 2; ++i) Set(policy);
  EXPECT_EQ(*reads, 1);
  EXPECT_EQ(reader->revoked(), authorizer_.Admit(Bearer("r"), kRead).status());
  EXPECT_EQ(ReasonOf(reader->revoked()), "CREDENTIALS_UNKNOWN");
  EXPECT_EQ(*generates, 1);
  const absl::Status denied = authorizer_.Admit(Bearer("u"), kGenerate).status();
  EXPECT_THAT(user->revoked(), StatusIs(kDenied, std::string(denied.message())));
  EXPECT_EQ(ReasonOf(user->revoked()), "ROLE_MISSING");
}

TEST_F(AuthorizerTest, AStreamByACertificateThatIsNamedNoMoreIsCancelled) {
  SetPolicy();
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor,
                             authorizer_.Admit(Certificate("urn:editor"), kEdit));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto by_token, authorizer_.Admit(Bearer("e"), kEdit));
  const auto cancelled = Watch(editor.get());
  const auto stays = Watch(by_token.get());
  Set(Principal("editor", "EDITOR", "e"));
  EXPECT_EQ(*cancelled, 1);
  EXPECT_THAT(editor->revoked(), StatusIs(kUnauthenticated));
  EXPECT_EQ(*stays, 0);
  EXPECT_THAT(by_token->revoked(), IsOk());
}

TEST_F(AuthorizerTest, AStreamThatMayStillBeginIsLeftAlone) {
  SetPolicy();
  AMEND_ASSERT_OK_AND_ASSIGN(const auto reader, authorizer_.Admit(Bearer("r"), kRead));
  const auto cancelled = Watch(reader.get());
  SetPolicy("concurrent_calls: 1");
  Set(Principal("reader", "[READER, USER]", "r"));
  EXPECT_EQ(*cancelled, 0);
  EXPECT_THAT(reader->revoked(), IsOk());
}

TEST_F(AuthorizerTest, AStreamThatWasAdmittedBeforeThePolicyChangedIsCancelledAtOnce) {
  SetPolicy();
  AMEND_ASSERT_OK_AND_ASSIGN(const auto reader, authorizer_.Admit(Bearer("r"), kRead));
  Set(Principal("somebody", "READER", "s"));
  EXPECT_EQ(*Watch(reader.get()), 1);
}

TEST_F(AuthorizerTest, AStreamThatHasEndedIsNotCancelled) {
  SetPolicy();
  AMEND_ASSERT_OK_AND_ASSIGN(auto ended, authorizer_.Admit(Bearer("r"), kRead));
  AMEND_ASSERT_OK_AND_ASSIGN(auto gone, authorizer_.Admit(Bearer("r"), kRead));
  const auto first = Watch(ended.get());
  const auto second = Watch(gone.get());
  ended->End();
  gone.reset();
  Set(Principal("somebody", "READER", "s"));
  EXPECT_EQ(*first, 0);
  EXPECT_EQ(*second, 0);
}

TEST_F(AuthorizerTest, ACancelMayEndItsCall) {
  SetPolicy();
  AMEND_ASSERT_OK_AND_ASSIGN(auto reader, authorizer_.Admit(Bearer("r"), kRead));
  reader->CancelWhenRevoked([&] { reader.reset(); });
  Set(Principal("somebody", "READER", "s"));
  EXPECT_EQ(reader, nullptr);
}

TEST_F(AuthorizerTest, AStreamOfEditsTakesNoMoreOnceThePolicyForbidsIt) {
  SetPolicy();
  AMEND_ASSERT_OK_AND_ASSIGN(auto caller, authorizer_.Admit(Bearer("e"), kEdit));
  EXPECT_THAT(caller->TakeEdits(1), IsOk());
  Set(Principal("editor", "READER", "e"));
  EXPECT_THAT(caller->TakeEdits(1), StatusIs(kDenied));
  Set(Principal("somebody", "READER", "s"));
  EXPECT_THAT(caller->TakeEdits(1), StatusIs(kDenied));
  caller->AddGeneratedTokens(1);
}

}  // namespace
}  // namespace amend
