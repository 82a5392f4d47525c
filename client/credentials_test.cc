#include "client/credentials.h"

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Write(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

constexpr char kHere[] = "127.0.0.1:50051";
constexpr char kElsewhere[] = "amend.example.org:50051";

std::string Error(const CredentialFiles& files, const char* server) {
  const auto credentials = ReadCredentials(files, server);
  if (credentials.ok()) return "";
  EXPECT_EQ(credentials.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(credentials.status().message());
}

TEST(ReadCredentialsTest, WithoutFilesThereIsNothing) {
  const auto credentials = ReadCredentials({}, kElsewhere);
  ASSERT_TRUE(credentials.ok());
  EXPECT_FALSE(credentials->tls);
  EXPECT_EQ(credentials->token, "");
}

TEST(ReadCredentialsTest, FilesAreReadAndMeanTls) {
  CredentialFiles files;
  files.authorities = Write("ca.pem", "authorities");
  files.certificate = Write("cert.pem", "certificate");
  files.key = Write("key.pem", "key");
  files.token = Write("token", "  secret\n");
  const auto credentials = ReadCredentials(files, kElsewhere);
  ASSERT_TRUE(credentials.ok()) << credentials.status();
  EXPECT_TRUE(credentials->tls);
  EXPECT_EQ(credentials->authorities, "authorities");
  EXPECT_EQ(credentials->certificate, "certificate");
  EXPECT_EQ(credentials->key, "key");
  EXPECT_EQ(credentials->token, "secret");
}

TEST(ReadCredentialsTest, ATokenStaysOnThisMachineWithoutTls) {
  CredentialFiles files;
  files.token = Write("token", "secret");
  EXPECT_EQ(Error(files, kHere), "");
  EXPECT_EQ(Error(files, "localhost:1"), "");
  EXPECT_EQ(Error(files, "[::1]:1"), "");
  EXPECT_THAT(Error(files, kElsewhere), AllOf(HasSubstr(kElsewhere), HasSubstr("clear text")));
  files.tls = true;
  EXPECT_EQ(Error(files, kElsewhere), "");
}

TEST(ReadCredentialsTest, CertificateAndKeyComeTogether) {
  CredentialFiles files;
  files.certificate = Write("cert.pem", "certificate");
  EXPECT_THAT(Error(files, kHere), AllOf(HasSubstr("cert.pem"), HasSubstr("--key \"\"")));
}

TEST(ReadCredentialsTest, AFileThatCannotBeReadOrIsEmptyIsNamed) {
  CredentialFiles files;
  files.authorities = "/no/such/ca";
  EXPECT_THAT(Error(files, kHere), HasSubstr("cannot read --ca /no/such/ca"));
  files.authorities = Write("empty", " \n");
  EXPECT_THAT(Error(files, kHere), AllOf(HasSubstr("--ca"), HasSubstr("is empty")));
}

}  // namespace
}  // namespace amend::client
