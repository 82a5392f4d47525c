#include "server/security/access_policy.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/digest.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// In "principals { name: ... }"; DIGEST stands for the digest of the token "secret".
absl::StatusOr<std::shared_ptr<const AccessPolicy>> Parse(absl::string_view text) {
  return AccessPolicy::Parse("policy.textproto",
                             absl::StrReplaceAll(text, {{"DIGEST", Sha256Hex("secret")}}));
}

std::string NameOf(const v1::Principal* principal) {
  return principal == nullptr ? "nobody" : principal->name();
}

TEST(AccessPolicyTest, ATokenIsFoundByItsDigest) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const auto policy,
      Parse("principals { name: 'a' roles: [READER, USER] token_sha256: 'DIGEST' }"));
  EXPECT_EQ(NameOf(policy->FindByToken("secret")), "a");
  EXPECT_EQ(NameOf(policy->FindByToken("secreT")), "nobody");
  EXPECT_EQ(NameOf(policy->FindByToken(Sha256Hex("secret"))), "nobody");
  EXPECT_EQ(NameOf(policy->FindByToken("")), "nobody");
}

TEST(AccessPolicyTest, DigestsMayBeInCapitals) {
  const std::string digest = absl::AsciiStrToUpper(Sha256Hex("secret"));
  AMEND_ASSERT_OK_AND_ASSIGN(
      const auto policy,
      Parse(absl::StrCat("principals { name: 'a' roles: READER token_sha256: '", digest, "' }")));
  EXPECT_EQ(NameOf(policy->FindByToken("secret")), "a");
}

TEST(AccessPolicyTest, ACertificateIsFoundByUriThenDnsThenCommonName) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto policy, Parse(R"(
    principals { name: 'uri' roles: USER certificate_uris: 'spiffe://x/a' }
    principals { name: 'dns' roles: USER certificate_dns_names: 'a.example.org' }
    principals { name: 'cn' roles: USER certificate_common_names: 'a' })"));
  EXPECT_EQ(NameOf(policy->FindByCertificate({{"spiffe://x/a"}, {"a.example.org"}, "a"})), "uri");
  EXPECT_EQ(NameOf(policy->FindByCertificate({{"other"}, {"b", "a.example.org"}, "a"})), "dns");
  EXPECT_EQ(NameOf(policy->FindByCertificate({{}, {}, "a"})), "cn");
  EXPECT_EQ(NameOf(policy->FindByCertificate({{}, {}, ""})), "nobody");
}

TEST(AccessPolicyTest, ACommonNameDoesNotCountBesideAlternativeNames) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const auto policy,
      Parse("principals { name: 'cn' roles: USER certificate_common_names: 'a' }"));
  EXPECT_EQ(NameOf(policy->FindByCertificate({{}, {"b.example.org"}, "a"})), "nobody");
}

TEST(AccessPolicyTest, KindsOfNamesAreNotMixedUp) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto policy,
                             Parse("principals { name: 'p' roles: USER certificate_uris: 'a' }"));
  EXPECT_EQ(NameOf(policy->FindByCertificate({{}, {"a"}, ""})), "nobody");
  EXPECT_EQ(NameOf(policy->FindByCertificate({{}, {}, "a"})), "nobody");
  EXPECT_EQ(NameOf(policy->FindByToken("a")), "nobody");
  EXPECT_EQ(NameOf(policy->FindByName("p")), "p");
}

TEST(AccessPolicyTest, LimitsOfItsOwnReplaceTheDefaults) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto policy, Parse(R"(
    default_limits { concurrent_calls: 3 edits_per_minute: 10 }
    principals { name: 'a' roles: USER certificate_uris: 'a' limits { concurrent_calls: 7 } }
    principals { name: 'b' roles: USER certificate_uris: 'b' })"));
  EXPECT_EQ(policy->LimitsOf(*policy->FindByName("a")).concurrent_calls(), 7);
  EXPECT_EQ(policy->LimitsOf(*policy->FindByName("a")).edits_per_minute(), 0);
  EXPECT_EQ(policy->LimitsOf(*policy->FindByName("b")).concurrent_calls(), 3);
}

TEST(AccessPolicyTest, WhatIsWrongIsNamedWithFileAndPlace) {
  const struct {
    const char* text;
    const char* what;
  } cases[] = {
      {"", "the policy has no principals"},
      {"principals {\n  name: 'a' rolls: USER\n}", "line 2, column 18"},
      {"principals { roles: USER certificate_uris: 'x' }", "principals[0].name is \"\""},
      {"principals { name: 'a b' roles: USER certificate_uris: 'x' }", "is \"a b\""},
      {"principals { name: 'a' certificate_uris: 'x' }", "principal \"a\" has no roles"},
      {"principals { name: 'a' roles: ROLE_UNSPECIFIED certificate_uris: 'x' }", "role 0"},
      {"principals { name: 'a' roles: USER }", "neither a certificate name nor a token"},
      {"principals { name: 'a' roles: USER certificate_uris: '' }", "empty certificate name"},
      {"principals { name: 'a' roles: USER token_sha256: 'DIGEST0' }", "of 65 characters"},
      {"principals { name: 'a' roles: USER certificate_uris: 'x' } "
       "principals { name: 'b' roles: USER certificate_uris: 'x' }",
       "principal \"b\" has a uri that principal \"a\" above it has"},
      {"principals { name: 'a' roles: USER certificate_uris: 'x' } "
       "principals { name: 'a' roles: USER certificate_uris: 'y' }",
       "has a name that principal \"a\""},
      {"principals { name: 'a' roles: USER token_sha256: 'DIGEST' } "
       "principals { name: 'b' roles: USER token_sha256: 'DIGEST' }",
       "has a token that principal \"a\""},
      {"default_limits { edits_per_minute: -1 } principals { name: 'a' roles: USER "
       "certificate_uris: 'x' }",
       "default_limits edits_per_minute is -1"},
      {"principals { name: 'a' roles: USER certificate_uris: 'x' limits { requests_per_second: nan "
       "} }",
       "requests_per_second is nan"},
      {"principals { name: 'a' roles: USER certificate_uris: 'x' limits { request_burst: 3 } }",
       "request_burst has no requests_per_second"},
  };
  for (const auto& [text, what] : cases) {
    EXPECT_THAT(Parse(text),
                StatusIs(kInvalid, AllOf(HasSubstr("policy.textproto"), HasSubstr(what))))
        << text;
  }
}

TEST(AccessPolicyTest, ATokenInThePlaceOfADigestIsNotQuoted) {
  EXPECT_THAT(Parse("principals { name: 'a' roles: USER token_sha256: 'my-secret-token' }"),
              StatusIs(kInvalid, Not(HasSubstr("my-secret-token"))));
}

}  // namespace
}  // namespace amend
