#include "server/security/tls_files.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/security/testing/test_authority.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

std::string Write(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

class ReadTlsFilesTest : public testing::Test {
 protected:
  // Options of files that are right.
  SecurityOptions Files(const IssuedCertificate& issued) {
    SecurityOptions options;
    options.tls_certificate_file = Write("server.pem", issued.certificate);
    options.tls_key_file = Write("server.key", issued.key);
    options.tls_client_ca_file = Write("clients.pem", authority_.certificate());
    return options;
  }

  TestAuthority authority_;
  const IssuedCertificate issued_ = authority_.Issue({"server", "DNS:localhost"});
};

TEST_F(ReadTlsFilesTest, ReadsWhatIsRight) {
  AMEND_ASSERT_OK_AND_ASSIGN(const TlsFiles files, ReadTlsFiles(Files(issued_), absl::Now()));
  EXPECT_EQ(files.certificate_chain, issued_.certificate);
  EXPECT_EQ(files.key, issued_.key);
  EXPECT_EQ(files.client_authorities, authority_.certificate());
  EXPECT_GT(files.expiry, absl::Now() + absl::Minutes(59));
  EXPECT_LT(files.expiry, absl::Now() + absl::Minutes(61));
}

TEST_F(ReadTlsFilesTest, AuthoritiesOfClientsMayBeLeftOut) {
  SecurityOptions options = Files(issued_);
  options.tls_client_ca_file.clear();
  AMEND_ASSERT_OK_AND_ASSIGN(const TlsFiles files, ReadTlsFiles(options, absl::Now()));
  EXPECT_EQ(files.client_authorities, "");
}

TEST_F(ReadTlsFilesTest, AFileThatIsMissingIsNamed) {
  SecurityOptions options = Files(issued_);
  options.tls_key_file = "/no/such/key";
  EXPECT_THAT(ReadTlsFiles(options, absl::Now()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/such/key")));
}

TEST_F(ReadTlsFilesTest, AKeyOfAnotherCertificateIsRefused) {
  SecurityOptions options = Files({issued_.certificate, authority_.Issue({"other", ""}).key});
  EXPECT_THAT(ReadTlsFiles(options, absl::Now()),
              StatusIs(kInvalid, AllOf(HasSubstr(options.tls_key_file),
                                       HasSubstr(options.tls_certificate_file))));
}

TEST_F(ReadTlsFilesTest, WhatIsNotPemIsNamed) {
  SecurityOptions options = Files({"no certificate", issued_.key});
  EXPECT_THAT(ReadTlsFiles(options, absl::Now()),
              StatusIs(kInvalid, HasSubstr(options.tls_certificate_file)));
  options = Files({issued_.certificate, "no key"});
  EXPECT_THAT(ReadTlsFiles(options, absl::Now()),
              StatusIs(kInvalid, HasSubstr(options.tls_key_file)));
  options = Files(issued_);
  options.tls_client_ca_file = Write("clients.pem", "");
  EXPECT_THAT(ReadTlsFiles(options, absl::Now()),
              StatusIs(kInvalid, HasSubstr(options.tls_client_ca_file)));
}

TEST_F(ReadTlsFilesTest, AChainWhoseEndIsDamagedIsRefused) {
  const std::string damaged =
      absl::StrCat(issued_.certificate, "-----BEGIN CERTIFICATE-----\n!!!\n");
  EXPECT_THAT(ReadTlsFiles(Files({damaged, issued_.key}), absl::Now()), StatusIs(kInvalid));
}

TEST_F(ReadTlsFilesTest, ACertificateOutsideItsTimeIsRefusedWithTheTime) {
  const SecurityOptions options = Files(issued_);
  constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;
  EXPECT_THAT(ReadTlsFiles(options, absl::Now() + absl::Hours(2)),
              StatusIs(kRefused, HasSubstr(options.tls_certificate_file)));
  EXPECT_THAT(ReadTlsFiles(options, absl::Now() - absl::Hours(2)), StatusIs(kRefused));
}

}  // namespace
}  // namespace amend
