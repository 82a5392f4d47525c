#include "server/host_port.h"

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(HostPortTest, TheLastColonSeparatesHostAndPort) {
  const auto parsed = ParseHostPort("gRPC", "[::1]:50051");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->host, "[::1]");
  EXPECT_EQ(parsed->port, 50051);
}

TEST(HostPortTest, PortsEndAt65535) {
  EXPECT_TRUE(ParseHostPort("gRPC", "localhost:0").ok());
  EXPECT_TRUE(ParseHostPort("gRPC", "localhost:65535").ok());
  EXPECT_FALSE(ParseHostPort("gRPC", "localhost:65536").ok());
  EXPECT_FALSE(ParseHostPort("gRPC", "localhost:-1").ok());
}

TEST(HostPortTest, WhatIsNotAnAddressIsNamedWithItsPurpose) {
  for (const char* address : {"", "localhost", ":1", "localhost:", "localhost:http"}) {
    EXPECT_THAT(ParseHostPort("HTTP", address),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("the HTTP address"), HasSubstr(address))));
  }
}

TEST(IsLoopbackTest, LoopbackAddressesAreThoseThatOnlyThisMachineReaches) {
  for (const char* host : {"localhost", "127.0.0.1", "127.1.2.3", "127.9.9.9", "::1", "[::1]"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host :
       {"0.0.0.0", "::", "[::]", "10.0.0.1", "128.0.0.1", "example.org", "localhost.example.org",
        "127.0.0.1.example.org", "127.evil.example", "::2", ""}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

}  // namespace
}  // namespace amend
