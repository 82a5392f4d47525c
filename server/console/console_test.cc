#include "server/console/console.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "amend/v1/generation.grpc.pb.h"
#include "amend/v1/revision.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

using nlohmann::json;

// Refuses "Bearer wrong".
grpc::Status CheckAuthorization(const grpc::ServerContext& context) {
  const auto found = context.client_metadata().find("authorization");
  if (found == context.client_metadata().end() || found->second != "Bearer wrong") {
    return grpc::Status::OK;
  }
  return ToGrpcStatus(
      WithReason(absl::UnauthenticatedError("no such token"), "CREDENTIALS_UNKNOWN"));
}

class FakeRevisions final : public v1::RevisionService::Service {
 public:
  grpc::Status ListRevisions(grpc::ServerContext* context, const v1::ListRevisionsRequest* request,
                             v1::ListRevisionsResponse* response) override {
    if (const grpc::Status status = CheckAuthorization(*context); !status.ok()) return status;
    if (request->page_token() == "bad") {
      return ToGrpcStatus(
          WithReason(absl::InvalidArgumentError("no page token: \"bad\""), "INVALID_REQUEST"));
    }
    v1::Revision& revision = *response->add_revisions();
    revision.set_revision(request->page_size() == 7 ? 70 : 12);
    revision.set_parent(11);
    revision.set_state(v1::Revision::REJECTED);
    response->mutable_live()->set_revision(11);
    response->set_next_page_token("next");
    return grpc::Status::OK;
  }
  grpc::Status GetRevision(grpc::ServerContext* context, const v1::GetRevisionRequest* request,
                           v1::Revision* response) override {
    if (const grpc::Status status = CheckAuthorization(*context); !status.ok()) return status;
    if (request->revision() > 12) {
      return ToGrpcStatus(WithReason(absl::NotFoundError("no revision"), "REVISION_NOT_FOUND"));
    }
    response->set_revision(request->revision());
    response->add_edits()->set_prompt("<script>alert(1)</script>");
    return grpc::Status::OK;
  }
  grpc::Status ListAuditRecords(grpc::ServerContext* context,
                                const v1::ListAuditRecordsRequest* /*request*/,
                                v1::ListAuditRecordsResponse* response) override {
    if (const grpc::Status status = CheckAuthorization(*context); !status.ok()) return status;
    response->add_records()->set_verb("rollback");
    return grpc::Status::OK;
  }
};

class FakeGeneration final : public v1::GenerationService::Service {
 public:
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        v1::GenerateResponse* response) override {
    if (const grpc::Status status = CheckAuthorization(*context); !status.ok()) return status;
    if (request->prompt() == "wait") {
      absl::MutexLock lock(&mutex);
      ++waiting;
      mutex.Await(absl::Condition(&go));
    }
    if (request->prompt() == "late") {
      while (!context->IsCancelled()) std::this_thread::yield();
    }
    response->set_text(absl::StrCat(request->prompt(), " answered"));
    response->set_revision(request->at().revision());
    return grpc::Status::OK;
  }

  absl::Mutex mutex;
  int waiting ABSL_GUARDED_BY(mutex) = 0;
  bool go ABSL_GUARDED_BY(mutex) = false;
};

class ConsoleTest : public ::testing::Test {
 protected:
  ConsoleTest() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&revisions_);
    builder.RegisterService(&generation_);
    server_ = builder.BuildAndStart();
  }
  ~ConsoleTest() override { server_->Shutdown(); }

  Console::Options Options() {
    Console::Options options;
    options.channel = [this] {
      return serves_ ? server_->InProcessChannel(grpc::ChannelArguments()) : nullptr;
    };
    options.info = [] {
      v1::ServerInfo info;
      info.set_version("1.2.3");
      return info;
    };
    options.activity = [] { return Console::Activity{2, 1, 0.25, 900, 4}; };
    return options;
  }
  static HttpRequest Get(const std::string& path) {
    return {"GET", path, {}, {{"host", "127.0.0.1:9464"}}, ""};
  }
  static HttpRequest Ask(const std::string& body) {
    HttpRequest request = Get("/api/v1/generate");
    request.method = "POST";
    request.headers["content-type"] = "application/json";
    request.body = body;
    return request;
  }
  static std::string ReasonOf(const HttpReply& reply) {
    return json::parse(reply.body)["error"]["reason"];
  }

  FakeRevisions revisions_;
  FakeGeneration generation_;
  std::unique_ptr<grpc::Server> server_;
  bool serves_ = true;
};

TEST_F(ConsoleTest, ThePageAndItsFilesAreThere) {
  Console console(Options());
  EXPECT_THAT(console.Handle(Get("/")).body, HasSubstr("<title>Amend"));
  EXPECT_EQ(console.Handle(Get("/")).content_type, "text/html; charset=utf-8");
  EXPECT_EQ(console.Handle(Get("/console.js")).content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(console.Handle(Get("/console.css")).content_type, "text/css; charset=utf-8");
  EXPECT_EQ(console.Handle(Get("/console.svg")).content_type, "image/svg+xml");
  EXPECT_EQ(console.Handle(Get("/console.exe")).status, 404);
}

TEST_F(ConsoleTest, EveryAnswerForbidsForeignCodeFramesAndCaches) {
  Console console(Options());
  HttpRequest foreign = Get("/");
  foreign.headers["host"] = "evil.example";
  for (const HttpRequest& request : {Get("/"), Get("/console.js"), Get("/api/v1/status"),
                                     Get("/api/v1/revisions/99"), Get("/nothing"), foreign}) {
    const HttpReply reply = console.Handle(request);
    EXPECT_THAT(reply.headers,
                Contains(Pair("Content-Security-Policy", AllOf(HasSubstr("default-src 'none'"),
                                                               HasSubstr("frame-ancestors 'none'"),
                                                               Not(HasSubstr("unsafe"))))))
        << request.path;
    EXPECT_THAT(reply.headers, Contains(Pair("Cache-Control", "no-store"))) << request.path;
    EXPECT_THAT(reply.headers, Contains(Pair("X-Content-Type-Options", "nosniff")));
    EXPECT_THAT(reply.headers, Not(Contains(Key("Access-Control-Allow-Origin"))));
  }
}

TEST_F(ConsoleTest, ItsPathsAreThoseThatTheEndpointPassesOn) {
  for (const char* path :
       {"/", "/console.css", "/console.js", "/console.svg", "/api/v1/status", "/api/v1/revisions",
        "/api/v1/revisions/12", "/api/v1/audit", "/api/v1/generate"}) {
    const std::vector<std::string> paths = Console::Paths();
    EXPECT_TRUE(std::any_of(paths.begin(), paths.end(), [&](const std::string& pattern) {
      return std::regex_match(path, std::regex(pattern));
    })) << path;
  }
}

TEST_F(ConsoleTest, StatusTellsWhatServesAndWhatRuns) {
  Console console(Options());
  const HttpReply reply = console.Handle(Get("/api/v1/status"));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json status = json::parse(reply.body);
  EXPECT_EQ(status["server"]["version"], "1.2.3");
  EXPECT_EQ(status["server"]["live"]["revision"], "11");
  EXPECT_EQ(status["server"]["latest_revision"], "12");
  EXPECT_EQ(status["server"]["running_sequences"], 2);
  EXPECT_EQ(status["server"]["waiting_sequences"], 1);
  EXPECT_EQ(status["server"]["edit_queue_depth"], 4);
  EXPECT_EQ(status["kv_cache_usage_ratio"], 0.25);
  EXPECT_EQ(status["tokens"], 900);
}

TEST_F(ConsoleTest, RevisionsComeInPagesWithAllTheirFields) {
  Console console(Options());
  HttpRequest request = Get("/api/v1/revisions");
  request.query["page_size"] = "7";
  const json list = json::parse(console.Handle(request).body);
  EXPECT_EQ(list["next_page_token"], "next");
  ASSERT_EQ(list["revisions"].size(), 1);
  EXPECT_EQ(list["revisions"][0]["revision"], "70");
  EXPECT_EQ(list["revisions"][0]["state"], "REJECTED");
  EXPECT_EQ(list["revisions"][0]["pinned"], false);
}

TEST_F(ConsoleTest, APageSizeThatIsNoneIsRefused) {
  Console console(Options());
  for (const char* path : {"/api/v1/revisions", "/api/v1/audit"}) {
    for (const char* size : {"x", "-1", "101", "", "99999999999999"}) {
      HttpRequest request = Get(path);
      request.query["page_size"] = size;
      const HttpReply reply = console.Handle(request);
      EXPECT_EQ(reply.status, 400) << size;
      EXPECT_EQ(ReasonOf(reply), "INVALID_REQUEST") << size;
      EXPECT_THAT(reply.body, HasSubstr("page_size")) << size;
    }
  }
}

TEST_F(ConsoleTest, AnErrorOfTheRpcKeepsItsReason) {
  Console console(Options());
  HttpRequest request = Get("/api/v1/revisions");
  request.query["page_token"] = "bad";
  EXPECT_EQ(console.Handle(request).status, 400);
  EXPECT_EQ(ReasonOf(console.Handle(request)), "INVALID_REQUEST");
  EXPECT_EQ(console.Handle(Get("/api/v1/revisions/13")).status, 404);
  EXPECT_EQ(ReasonOf(console.Handle(Get("/api/v1/revisions/13"))), "REVISION_NOT_FOUND");
  EXPECT_EQ(console.Handle(Get("/api/v1/revisions/99999999999999999999")).status, 400);
}

TEST_F(ConsoleTest, ARevisionHasItsEditsAsTheyWereSent) {
  Console console(Options());
  const HttpReply reply = console.Handle(Get("/api/v1/revisions/12"));
  EXPECT_EQ(reply.content_type, "application/json");
  EXPECT_EQ(json::parse(reply.body)["edits"][0]["prompt"], "<script>alert(1)</script>");
}

TEST_F(ConsoleTest, TheAuditTrailIsListed) {
  Console console(Options());
  EXPECT_EQ(json::parse(console.Handle(Get("/api/v1/audit")).body)["records"][0]["verb"],
            "rollback");
}

TEST_F(ConsoleTest, AQuestionIsAnsweredByTheRevisionAskedFor) {
  Console console(Options());
  const HttpReply reply = console.Handle(Ask(R"({"prompt": "Jordan", "at": {"revision": "3"}})"));
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(json::parse(reply.body)["text"], "Jordan answered");
  EXPECT_EQ(json::parse(reply.body)["revision"], "3");
}

TEST_F(ConsoleTest, ABodyThatIsNoRequestIsRefused) {
  Console console(Options());
  for (const char* body : {"", "{", "[]", R"({"promt": "x"})", R"({"prompt": {"x": 1}})"}) {
    const HttpReply reply = console.Handle(Ask(body));
    EXPECT_EQ(reply.status, 400) << body;
    EXPECT_EQ(ReasonOf(reply), "INVALID_REQUEST") << body;
  }
}

TEST_F(ConsoleTest, AForeignPageCannotAsk) {
  Console console(Options());
  HttpRequest request = Ask(R"({"prompt": "x"})");
  request.headers["origin"] = "http://evil.example";
  EXPECT_EQ(console.Handle(request).status, 403);
  EXPECT_EQ(ReasonOf(console.Handle(request)), "ORIGIN_NOT_ALLOWED");
  HttpRequest form = Ask(R"({"prompt": "x"})");
  form.headers["content-type"] = "text/plain";
  EXPECT_EQ(console.Handle(form).status, 400);
  HttpRequest rebound = Ask(R"({"prompt": "x"})");
  rebound.headers["host"] = "evil.example:9464";
  EXPECT_EQ(ReasonOf(console.Handle(rebound)), "HOST_NOT_ALLOWED");
}

TEST_F(ConsoleTest, TheOtherMethodIsNotAllowed) {
  Console console(Options());
  const HttpReply get = console.Handle(Get("/api/v1/generate"));
  EXPECT_EQ(get.status, 405);
  EXPECT_THAT(get.headers, Contains(Pair("Allow", "POST")));
  HttpRequest post = Ask("{}");
  post.path = "/api/v1/revisions";
  EXPECT_EQ(console.Handle(post).status, 405);
  post.path = "/";
  EXPECT_EQ(console.Handle(post).status, 404);
}

TEST_F(ConsoleTest, AQuestionMoreThanMayRunIsTurnedAwayAndOthersGoOn) {
  Console::Options options = Options();
  options.max_asks = 2;
  Console console(std::move(options));
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back(
        [&] { EXPECT_EQ(console.Handle(Ask(R"({"prompt": "wait"})")).status, 200); });
  }
  {
    absl::MutexLock lock(&generation_.mutex);
    generation_.mutex.Await(absl::Condition(
        +[](FakeGeneration* g) ABSL_NO_THREAD_SAFETY_ANALYSIS { return g->waiting == 2; },
        &generation_));
  }
  const HttpReply reply = console.Handle(Ask(R"({"prompt": "more"})"));
  EXPECT_EQ(reply.status, 429);
  EXPECT_EQ(ReasonOf(reply), "CONSOLE_BUSY");
  EXPECT_THAT(reply.headers, Contains(Pair("Retry-After", "1")));
  EXPECT_EQ(console.Handle(Get("/api/v1/status")).status, 200);
  {
    absl::MutexLock lock(&generation_.mutex);
    generation_.go = true;
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(console.Handle(Ask(R"({"prompt": "more"})")).status, 200);
}

TEST_F(ConsoleTest, ACallMoreThanMayRunIsTurnedAway) {
  Console::Options options = Options();
  options.max_calls = 1;
  Console console(std::move(options));
  std::thread asking([&] { console.Handle(Ask(R"({"prompt": "wait"})")); });
  {
    absl::MutexLock lock(&generation_.mutex);
    generation_.mutex.Await(absl::Condition(
        +[](FakeGeneration* g) ABSL_NO_THREAD_SAFETY_ANALYSIS { return g->waiting == 1; },
        &generation_));
  }
  EXPECT_EQ(console.Handle(Get("/api/v1/status")).status, 429);
  EXPECT_EQ(console.Handle(Get("/")).status, 200);
  {
    absl::MutexLock lock(&generation_.mutex);
    generation_.go = true;
  }
  asking.join();
}

TEST_F(ConsoleTest, AQuestionEndsWithItsTime) {
  Console::Options options = Options();
  options.ask_time = absl::Milliseconds(50);
  Console console(std::move(options));
  const HttpReply reply = console.Handle(Ask(R"({"prompt": "late"})"));
  EXPECT_EQ(reply.status, 504);
}

TEST_F(ConsoleTest, BeforeTheServerServesTheApiSaysSoAndThePageIsThere) {
  serves_ = false;
  Console console(Options());
  EXPECT_EQ(console.Handle(Get("/api/v1/status")).status, 503);
  EXPECT_EQ(console.Handle(Get("/")).status, 200);
}

TEST_F(ConsoleTest, EveryCallCarriesTheAuthorizationThatCame) {
  Console console(Options());
  for (HttpRequest request : {Get("/api/v1/status"), Get("/api/v1/revisions"),
                              Get("/api/v1/revisions/1"), Get("/api/v1/audit"), Ask("{}")}) {
    request.headers["authorization"] = "Bearer wrong";
    const HttpReply refused = console.Handle(request);
    EXPECT_EQ(refused.status, 401) << request.path;
    EXPECT_THAT(refused.headers, Contains(Pair("WWW-Authenticate", "Bearer"))) << request.path;
    EXPECT_EQ(ReasonOf(refused), "CREDENTIALS_UNKNOWN") << request.path;
    request.headers["authorization"] = "Bearer right";
    EXPECT_EQ(console.Handle(request).status, 200) << request.path;
  }
  HttpRequest page = Get("/");
  page.headers["authorization"] = "Bearer wrong";
  EXPECT_EQ(console.Handle(page).status, 200);
}

TEST_F(ConsoleTest, AnAuthorizationThatMetadataCannotHoldIsLeftOut) {
  Console console(Options());
  HttpRequest request = Get("/api/v1/status");
  request.headers["authorization"] = "Bearer wrong\xff\n";
  EXPECT_EQ(console.Handle(request).status, 200);
}

}  // namespace
}  // namespace amend
