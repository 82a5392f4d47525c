#include "server/http_endpoint.h"

#include <httplib.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class HttpEndpointTest : public ::testing::Test {
 protected:
  HttpEndpoint::Options Options(const std::string& address) {
    HttpEndpoint::Options options;
    options.address = address;
    options.metrics_text = [] { return std::string("amend_test 1\n"); };
    options.ready = [this] { return ready_.load(); };
    return options;
  }
  static int PortOf(const HttpEndpoint& endpoint) {
    int port = 0;
    const std::string& address = endpoint.address();
    EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
    return port;
  }

  std::atomic<bool> ready_ = true;
};

TEST_F(HttpEndpointTest, MetricsAreServedAsPrometheusText) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto endpoint, HttpEndpoint::Start(Options("127.0.0.1:0")));
  httplib::Client client("127.0.0.1", PortOf(*endpoint));
  const auto response = client.Get("/metrics");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "amend_test 1\n");
  EXPECT_THAT(response->get_header_value("Content-Type"), HasSubstr("version=0.0.4"));
}

TEST_F(HttpEndpointTest, ReadinessFollowsTheServerAndHealthDoesNot) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto endpoint, HttpEndpoint::Start(Options("127.0.0.1:0")));
  httplib::Client client("127.0.0.1", PortOf(*endpoint));
  EXPECT_EQ(client.Get("/readyz")->status, 200);
  ready_ = false;
  EXPECT_EQ(client.Get("/readyz")->status, 503);
  EXPECT_EQ(client.Get("/healthz")->status, 200);
}

TEST_F(HttpEndpointTest, AnotherPathIsNotFound) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto endpoint, HttpEndpoint::Start(Options("127.0.0.1:0")));
  httplib::Client client("127.0.0.1", PortOf(*endpoint));
  EXPECT_EQ(client.Get("/other")->status, 404);
}

TEST_F(HttpEndpointTest, AHandlerGetsTheRequestAndItsReplyIsSent) {
  HttpEndpoint::Options options = Options("127.0.0.1:0");
  HttpRequest got;
  options.handler_paths = {"/api/[a-z]{1,9}"};
  options.handler = [&](const HttpRequest& request) {
    got = request;
    return HttpReply{418, "application/json", "{}", {{"X-Kind", "teapot"}}};
  };
  AMEND_ASSERT_OK_AND_ASSIGN(const auto endpoint, HttpEndpoint::Start(options));
  httplib::Client client("127.0.0.1", PortOf(*endpoint));
  const auto response = client.Post("/api/tea?page_size=3&word=a%20b",
                                    {{"X-Cup", "1"}, {"X-Cup", "2"}}, "milk", "application/json");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 418);
  EXPECT_EQ(response->body, "{}");
  EXPECT_EQ(response->get_header_value("X-Kind"), "teapot");
  EXPECT_EQ(response->get_header_value("Connection"), "close");
  EXPECT_EQ(got.method, "POST");
  EXPECT_EQ(got.path, "/api/tea");
  EXPECT_EQ(got.body, "milk");
  EXPECT_EQ(got.query.at("page_size"), "3");
  EXPECT_EQ(got.query.at("word"), "a b");
  EXPECT_EQ(got.header("x-cup"), "1, 2");
  EXPECT_EQ(got.header("content-type"), "application/json");
  EXPECT_EQ(got.header("host"), endpoint->address());
  EXPECT_EQ(got.header("nothing"), "");
}

TEST_F(HttpEndpointTest, WhatIsTooLongIsRefusedAndTheServerGoesOn) {
  HttpEndpoint::Options options = Options("127.0.0.1:0");
  options.handler_paths = {"/api/[a-z]{1,9}"};
  options.handler = [](const HttpRequest& /*request*/) { return HttpReply(); };
  AMEND_ASSERT_OK_AND_ASSIGN(const auto endpoint, HttpEndpoint::Start(options));
  httplib::Client client("127.0.0.1", PortOf(*endpoint));
  EXPECT_EQ(client.Post("/api/tea", std::string(70000, 'x'), "text/plain")->status, 413);
  EXPECT_EQ(client.Get("/api/" + std::string(8000, 'a'))->status, 404);
  EXPECT_NE(client.Get("/" + std::string(100000, 'a'))->status, 200);
  EXPECT_EQ(client.Get("/api/tea")->status, 200);
}

TEST_F(HttpEndpointTest, HealthAndMetricsAreAnsweredWhileHandlersAreBusy) {
  constexpr int kBusy = HttpEndpoint::kThreads - 2;
  HttpEndpoint::Options options = Options("127.0.0.1:0");
  absl::BlockingCounter started(kBusy);
  absl::Notification go;
  options.handler_paths = {"/api"};
  options.handler = [&](const HttpRequest& /*request*/) {
    started.DecrementCount();
    go.WaitForNotification();
    return HttpReply();
  };
  AMEND_ASSERT_OK_AND_ASSIGN(const auto endpoint, HttpEndpoint::Start(options));
  std::vector<std::thread> busy;
  for (int i = 0; i < kBusy; ++i) {
    busy.emplace_back([port = PortOf(*endpoint)] {
      httplib::Client client("127.0.0.1", port);
      client.set_read_timeout(60);
      EXPECT_EQ(client.Get("/api")->status, 200);
    });
  }
  started.Wait();
  httplib::Client client("127.0.0.1", PortOf(*endpoint));
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  EXPECT_EQ(client.Get("/metrics")->status, 200);
  go.Notify();
  for (std::thread& thread : busy) thread.join();
}

TEST_F(HttpEndpointTest, AFreePortIsTakenAndNamed) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto endpoint, HttpEndpoint::Start(Options("127.0.0.1:0")));
  EXPECT_THAT(endpoint->address(), AllOf(HasSubstr("127.0.0.1:"), Not(HasSubstr(":0"))));
}

TEST_F(HttpEndpointTest, APortInUseIsAnErrorThatNamesTheAddress) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto first, HttpEndpoint::Start(Options("127.0.0.1:0")));
  EXPECT_THAT(HttpEndpoint::Start(Options(first->address())),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr(first->address()), HasSubstr("in use"))));
}

TEST_F(HttpEndpointTest, AnAddressWithoutAPortIsRefused) {
  for (const std::string bad : {"127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":80", ""}) {
    EXPECT_THAT(HttpEndpoint::Start(Options(bad)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"" + bad + "\"")));
  }
}

TEST_F(HttpEndpointTest, ThePortIsFreeAfterTheEnd) {
  AMEND_ASSERT_OK_AND_ASSIGN(auto first, HttpEndpoint::Start(Options("127.0.0.1:0")));
  const std::string address = first->address();
  first.reset();
  EXPECT_THAT(HttpEndpoint::Start(Options(address)), IsOk());
}

}  // namespace
}  // namespace amend
