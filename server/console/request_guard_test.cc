#include "server/console/request_guard.h"

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

HttpRequest Get(const std::string& host) {
  HttpRequest request;
  request.method = "GET";
  request.path = "/api/v1/status";
  request.headers["host"] = host;
  return request;
}

HttpRequest Post(const std::string& content_type) {
  HttpRequest request = Get("127.0.0.1:9464");
  request.method = "POST";
  request.path = "/api/v1/generate";
  if (!content_type.empty()) request.headers["content-type"] = content_type;
  return request;
}

TEST(RequestGuardTest, AddressesAndLocalhostAreAllowedWhateverThePort) {
  for (const char* host : {"127.0.0.1:9464", "10.1.2.3", "[::1]:8080", "[fe80::1]", "localhost:80",
                           "LOCALHOST", "localhost"}) {
    EXPECT_THAT(CheckRequest(Get(host), {}), IsOk()) << host;
  }
}

TEST(RequestGuardTest, AForeignNameThatResolvesHereIsRefused) {
  for (const char* host : {"evil.example:9464", "", "127.0.0.1.evil.example", "localhost.evil",
                           "[::1].evil", "[::1", "127.0.0.1, evil.example", "2130706433"}) {
    const absl::Status status = CheckRequest(Get(host), {});
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("Host"))) << host;
    EXPECT_EQ(ReasonOf(status), "HOST_NOT_ALLOWED") << host;
  }
}

TEST(RequestGuardTest, AConfiguredNameIsAllowed) {
  const std::vector<std::string> hosts = {"amend.example"};
  EXPECT_THAT(CheckRequest(Get("Amend.example:443"), hosts), IsOk());
  EXPECT_THAT(CheckRequest(Get("x.amend.example"), hosts),
              StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST(RequestGuardTest, APageOfAnotherOriginIsRefused) {
  for (const char* origin : {"http://evil.example", "null", "http://127.0.0.1:80",
                             "ftp://127.0.0.1:9464", "http://127.0.0.1:9464.evil.example"}) {
    HttpRequest request = Post("application/json");
    request.headers["origin"] = origin;
    const absl::Status status = CheckRequest(request, {});
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kPermissionDenied,
                                 AllOf(HasSubstr(origin), HasSubstr("127.0.0.1:9464"))));
    EXPECT_EQ(ReasonOf(status), "ORIGIN_NOT_ALLOWED") << origin;
  }
}

TEST(RequestGuardTest, ItsOwnPageIsAllowedAlsoBehindAProxyThatDoesTls) {
  for (const char* origin : {"http://127.0.0.1:9464", "https://127.0.0.1:9464"}) {
    HttpRequest request = Post("application/json; charset=utf-8");
    request.headers["origin"] = origin;
    request.headers["sec-fetch-site"] = "same-origin";
    EXPECT_THAT(CheckRequest(request, {}), IsOk()) << origin;
  }
}

TEST(RequestGuardTest, WhatTheBrowserCallsForeignMayOpenThePageAndNothingElse) {
  for (const char* site : {"cross-site", "same-site"}) {
    HttpRequest request = Get("localhost");
    request.headers["sec-fetch-site"] = site;
    EXPECT_THAT(CheckRequest(request, {}), StatusIs(absl::StatusCode::kPermissionDenied)) << site;
    request.path = "/";
    EXPECT_THAT(CheckRequest(request, {}), IsOk()) << site;
  }
}

TEST(RequestGuardTest, APostThatAFormCouldSendIsRefused) {
  for (const char* type : {"", "text/plain", "application/x-www-form-urlencoded",
                           "text/plain; application/json", "multipart/form-data"}) {
    const absl::Status status = CheckRequest(Post(type), {});
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("Content-Type")))
        << type;
    EXPECT_EQ(ReasonOf(status), "INVALID_REQUEST");
  }
}

TEST(RequestGuardTest, ALongHeaderIsCutInTheMessage) {
  const absl::Status status = CheckRequest(Get(std::string(5000, 'x')), {});
  EXPECT_LT(status.message().size(), 300);
}

}  // namespace
}  // namespace amend
