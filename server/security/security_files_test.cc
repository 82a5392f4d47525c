#include "server/security/security_files.h"

#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/security/testing/test_authority.h"

namespace amend {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kMethod[] = "amend.v1.RevisionService/ListRevisions";

class Recorder final : public SecurityObserver {
 public:
  void SecurityFileChanged(SecurityFile file, bool taken) override {
    changes.emplace_back(file, taken);
  }
  void CertificateExpires(absl::Time when) override { expiry = when; }

  std::vector<std::pair<SecurityFile, bool>> changes;
  absl::Time expiry;
};

class SecurityFilesTest : public testing::Test {
 protected:
  SecurityFilesTest() {
    options_.authorizer = &authorizer_;
    options_.observer = &observer_;
    options_.progress = [this](absl::string_view text) { told_.emplace_back(text); };
    options_.files.policy_file = Write("policy.textproto", PolicyOf("one"));
  }

  // Its only principal reads, with this token.
  static std::string PolicyOf(absl::string_view token) {
    return absl::StrCat("principals { name: \"reader\" roles: READER token_sha256: \"",
                        Sha256Hex(token), "\" }");
  }

  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = absl::StrCat(testing::TempDir(), "/", name);
    std::ofstream(path, std::ios::trunc) << text;
    return path;
  }

  void WriteCertificate(const IssuedCertificate& issued) {
    options_.files.tls_certificate_file = Write("server.pem", issued.certificate);
    options_.files.tls_key_file = Write("server.key", issued.key);
  }

  bool Knows(absl::string_view token) {
    CallCredentials credentials;
    credentials.authorization = absl::StrCat("Bearer ", token);
    return authorizer_.Admit(credentials, kMethod).ok();
  }

  Authorizer authorizer_;
  Recorder observer_;
  std::vector<std::string> told_;
  SecurityFiles::Options options_;
  TestAuthority authority_;
};

TEST_F(SecurityFilesTest, TheStartReadsThePolicy) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto files, SecurityFiles::Load(options_));
  EXPECT_TRUE(Knows("one"));
  EXPECT_EQ(files->tls(), nullptr);
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(SecurityFilesTest, AStartWithAWrongFileFails) {
  Write("policy.textproto", "principals {");
  EXPECT_THAT(SecurityFiles::Load(options_),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("policy.textproto")));
  Write("policy.textproto", PolicyOf("one"));
  options_.files.tls_certificate_file = "/no/such/certificate";
  EXPECT_THAT(SecurityFiles::Load(options_),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/such/certificate")));
}

TEST_F(SecurityFilesTest, AChangedPolicyIsInForceOnceItWasSeen) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto files, SecurityFiles::Load(options_));
  Write("policy.textproto", PolicyOf("two"));
  EXPECT_TRUE(Knows("one"));
  files->CheckNow();
  EXPECT_FALSE(Knows("one"));
  EXPECT_TRUE(Knows("two"));
  EXPECT_THAT(told_, ElementsAre(HasSubstr("policy.textproto read again")));
  EXPECT_THAT(observer_.changes, ElementsAre(std::pair(SecurityFile::kPolicy, true)));
}

TEST_F(SecurityFilesTest, AMalformedPolicyKeepsTheOldOneAndSaysSoOnce) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto files, SecurityFiles::Load(options_));
  Write("policy.textproto", "principals { nam: \"x\" }");
  for (int i = 0; i < 4; ++i) files->CheckNow();
  EXPECT_TRUE(Knows("one"));
  EXPECT_THAT(told_, ElementsAre(HasSubstr("\"nam\"")));
  EXPECT_THAT(observer_.changes, ElementsAre(std::pair(SecurityFile::kPolicy, false)));
}

TEST_F(SecurityFilesTest, APolicyThatIsGoneKeepsTheOldOne) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto files, SecurityFiles::Load(options_));
  std::remove(options_.files.policy_file.c_str());
  files->CheckNow();
  files->CheckNow();
  EXPECT_TRUE(Knows("one"));
  EXPECT_THAT(told_, ElementsAre(HasSubstr("cannot read")));
}

TEST_F(SecurityFilesTest, WhatIsWrongForAMomentIsNotTold) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto files, SecurityFiles::Load(options_));
  Write("policy.textproto", "princi");
  files->CheckNow();
  Write("policy.textproto", PolicyOf("two"));
  files->CheckNow();
  EXPECT_TRUE(Knows("two"));
  EXPECT_THAT(observer_.changes, ElementsAre(std::pair(SecurityFile::kPolicy, true)));
}

TEST_F(SecurityFilesTest, CertificateAndKeyAreTakenTogether) {
  WriteCertificate(authority_.Issue({"old", ""}));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto files, SecurityFiles::Load(options_));
  ASSERT_NE(files->tls(), nullptr);
  TestAuthority::Request request{"new", ""};
  request.ends = absl::Hours(9);
  const IssuedCertificate renewed = authority_.Issue(request);
  Write("server.pem", renewed.certificate);
  files->CheckNow();
  EXPECT_THAT(observer_.changes, IsEmpty());
  Write("server.key", renewed.key);
  files->CheckNow();
  EXPECT_THAT(observer_.changes, ElementsAre(std::pair(SecurityFile::kTls, true)));
  EXPECT_GT(observer_.expiry, absl::Now() + absl::Hours(8));
}

TEST_F(SecurityFilesTest, AnExpiredCertificateIsNotTaken) {
  WriteCertificate(authority_.Issue({"old", ""}));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto files, SecurityFiles::Load(options_));
  TestAuthority::Request expired{"new", ""};
  expired.begins = -absl::Hours(2);
  expired.ends = -absl::Hours(1);
  WriteCertificate(authority_.Issue(expired));
  files->CheckNow();
  files->CheckNow();
  EXPECT_THAT(observer_.changes, ElementsAre(std::pair(SecurityFile::kTls, false)));
  EXPECT_THAT(told_, ElementsAre(HasSubstr("is valid from")));
}

TEST_F(SecurityFilesTest, WatchingSeesAChangeByItself) {
  options_.files.reload_interval = absl::Milliseconds(1);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto files, SecurityFiles::Load(options_));
  files->Watch();
  Write("policy.textproto", PolicyOf("two"));
  while (!Knows("two")) std::this_thread::yield();
}

}  // namespace
}  // namespace amend
