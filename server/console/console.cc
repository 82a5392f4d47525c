#include "server/console/console.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "amend/v1/generation.grpc.pb.h"
#include "amend/v1/revision.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "server/console/console_assets.h"
#include "server/console/http_errors.h"
#include "server/console/request_guard.h"
#include "server/errors.h"

namespace amend {
namespace {

using google::protobuf::Message;

constexpr char kJson[] = "application/json";
constexpr char kApiPrefix[] = "/api/";
constexpr char kRevisionPrefix[] = "/api/v1/revisions/";
constexpr int kMaxPageSize = 100;
constexpr absl::Duration kBusyDelay = absl::Seconds(1);

// No script, style or answer from anywhere else, no frame around the page, and no text that becomes
// code ("trusted types" with no policy turn such assignments into errors).
constexpr char kContentPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

HttpReply Hardened(HttpReply reply) {
  reply.headers.insert(reply.headers.end(), {{"Content-Security-Policy", kContentPolicy},
                                             {"Cache-Control", "no-store"},
                                             {"Cross-Origin-Opener-Policy", "same-origin"},
                                             {"Cross-Origin-Resource-Policy", "same-origin"},
                                             {"Referrer-Policy", "no-referrer"},
                                             {"X-Content-Type-Options", "nosniff"},
                                             {"X-Frame-Options", "DENY"}});
  return reply;
}

HttpReply InvalidRequest(const std::string& message) {
  return ErrorReply(WithReason(absl::InvalidArgumentError(message), "INVALID_REQUEST"));
}

// Every field is there, also one that is 0 or empty; names as in the .proto files.
std::string ToJson(const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text, options).ok()) return "{}";
  return text;
}

HttpReply JsonReply(std::string text) {
  HttpReply reply;
  reply.content_type = kJson;
  reply.body = std::move(text);
  return reply;
}

HttpReply Answer(const grpc::Status& status, const Message& response) {
  return status.ok() ? JsonReply(ToJson(response)) : ErrorReply(status);
}

// As metadata; what metadata cannot hold is left out, and so says nothing of who asks.
void PassAuthorization(const HttpRequest& request, grpc::ClientContext* context) {
  const std::string header = request.header("authorization");
  const bool fits = std::all_of(header.begin(), header.end(), absl::ascii_isprint);
  if (!header.empty() && fits) context->AddMetadata("authorization", header);
}

// page_size and page_token of the query. False, with the answer in `refusal`, for a size that is no
// number.
template <typename Request>
bool ReadPage(const HttpRequest& http, Request* request, HttpReply* refusal) {
  const auto size = http.query.find("page_size");
  if (size != http.query.end()) {
    int number = 0;
    if (!absl::SimpleAtoi(size->second, &number) || number < 0 || number > kMaxPageSize) {
      *refusal = InvalidRequest(absl::StrCat("page_size is \"", size->second.substr(0, 20),
                                             "\", not a number from 0 to ", kMaxPageSize));
      return false;
    }
    request->set_page_size(number);
  }
  const auto token = http.query.find("page_token");
  if (token != http.query.end()) request->set_page_token(token->second);
  return true;
}

// Counts a call while it is alive.
class Slot {
 public:
  Slot(std::atomic<int>* count, int limit) : count_(count), taken_(++*count <= limit) {}
  ~Slot() { --*count_; }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
  bool taken() const { return taken_; }

 private:
  std::atomic<int>* const count_;
  const bool taken_;
};

HttpReply Busy(absl::string_view what, int limit) {
  return ErrorReply(
      WithRetryDelay(WithReason(absl::ResourceExhaustedError(absl::StrCat(
                                    "the console has ", limit, " ", what, " running already")),
                                "CONSOLE_BUSY", {{"limit", absl::StrCat(limit)}}),
                     kBusyDelay));
}

const HttpReply* AssetAt(absl::string_view path) {
  static const auto* const assets = new std::vector<std::pair<std::string, HttpReply>>{
      {"/", {200, "text/html; charset=utf-8", std::string(ConsoleHtml()), {}}},
      {"/console.css", {200, "text/css; charset=utf-8", std::string(ConsoleCss()), {}}},
      {"/console.js", {200, "text/javascript; charset=utf-8", std::string(ConsoleJs()), {}}},
      {"/console.svg", {200, "image/svg+xml", std::string(ConsoleSvg()), {}}}};
  for (const auto& [name, reply] : *assets) {
    if (name == path) return &reply;
  }
  return nullptr;
}

}  // namespace

// One request of the API on its way.
struct Console::Call {
  const HttpRequest& http;
  const std::shared_ptr<grpc::Channel> channel;
  mutable grpc::ClientContext context;
};

std::vector<std::string> Console::Paths() {
  return {"/", R"(/console\.[a-z]{1,4})", R"(/api/v1/[a-z]{1,20}(/[0-9]{1,20})?)"};
}

Console::Console(Options options) : options_(std::move(options)) {}

HttpReply Console::Handle(const HttpRequest& request) {
  const absl::Status allowed = CheckRequest(request, options_.hosts);
  if (!allowed.ok()) return Hardened(ErrorReply(allowed));
  if (absl::StartsWith(request.path, kApiPrefix)) return Hardened(Api(request));
  const HttpReply* const asset = request.method == "GET" ? AssetAt(request.path) : nullptr;
  if (asset != nullptr) return Hardened(*asset);
  return Hardened(ErrorReply(absl::NotFoundError("there is nothing at this path")));
}

HttpReply Console::Api(const HttpRequest& request) {
  struct Route {
    const char* method;
    const char* path;
    HttpReply (Console::*serve)(const Call&);
  };
  static constexpr Route kRoutes[] = {
      {"GET", "/api/v1/status", &Console::Status},
      {"GET", "/api/v1/revisions", &Console::ListRevisions},
      {"GET", kRevisionPrefix, &Console::GetRevision},
      {"GET", "/api/v1/audit", &Console::ListAuditRecords},
      {"POST", "/api/v1/generate", &Console::Generate},
  };
  absl::string_view path = request.path;
  if (absl::StartsWith(path, kRevisionPrefix)) path = kRevisionPrefix;
  for (const Route& route : kRoutes) {
    if (path != route.path) continue;
    if (request.method != route.method) {
      HttpReply reply = ErrorReply(absl::UnimplementedError(
          absl::StrCat(path, " takes ", route.method, ", not ", request.method)));
      reply.status = 405;
      reply.headers.emplace_back("Allow", route.method);
      return reply;
    }
    const Slot slot(&calls_, options_.max_calls);
    if (!slot.taken()) return Busy("calls", options_.max_calls);
    const Call call{request, options_.channel(), {}};
    if (call.channel == nullptr) {
      return ErrorReply(WithRetryDelay(
          absl::UnavailableError("the server is starting or shutting down"), kBusyDelay));
    }
    PassAuthorization(request, &call.context);
    call.context.set_deadline(absl::ToChronoTime(absl::Now() + options_.read_time));
    return (this->*route.serve)(call);
  }
  return ErrorReply(absl::NotFoundError("there is nothing at this path of the API"));
}

HttpReply Console::Status(const Call& call) {
  v1::ListRevisionsRequest request;
  request.set_page_size(1);
  v1::ListRevisionsResponse newest;
  const grpc::Status status =
      v1::RevisionService::NewStub(call.channel)->ListRevisions(&call.context, request, &newest);
  if (!status.ok()) return ErrorReply(status);
  v1::ServerInfo info = options_.info();
  *info.mutable_live() = newest.live();
  if (newest.revisions_size() > 0) info.set_latest_revision(newest.revisions(0).revision());
  info.clear_profile();
  const Activity activity = options_.activity();
  info.set_edit_queue_depth(activity.edit_queue_depth);
  info.set_running_sequences(activity.running);
  info.set_waiting_sequences(activity.waiting);
  const nlohmann::json json = {{"server", nlohmann::json::parse(ToJson(info))},
                               {"kv_cache_usage_ratio", activity.kv_cache_usage_ratio},
                               {"tokens", activity.tokens}};
  return JsonReply(json.dump());
}

HttpReply Console::ListRevisions(const Call& call) {
  v1::ListRevisionsRequest request;
  HttpReply refusal;
  if (!ReadPage(call.http, &request, &refusal)) return refusal;
  v1::ListRevisionsResponse response;
  return Answer(
      v1::RevisionService::NewStub(call.channel)->ListRevisions(&call.context, request, &response),
      response);
}

HttpReply Console::GetRevision(const Call& call) {
  const std::string number = call.http.path.substr(sizeof(kRevisionPrefix) - 1);
  int64_t revision = 0;
  if (!absl::SimpleAtoi(number, &revision)) {
    return InvalidRequest(
        absl::StrCat("the revision is \"", number.substr(0, 20), "\", not a number"));
  }
  v1::GetRevisionRequest request;
  request.set_revision(revision);
  v1::Revision response;
  return Answer(
      v1::RevisionService::NewStub(call.channel)->GetRevision(&call.context, request, &response),
      response);
}

HttpReply Console::ListAuditRecords(const Call& call) {
  v1::ListAuditRecordsRequest request;
  HttpReply refusal;
  if (!ReadPage(call.http, &request, &refusal)) return refusal;
  v1::ListAuditRecordsResponse response;
  return Answer(v1::RevisionService::NewStub(call.channel)
                    ->ListAuditRecords(&call.context, request, &response),
                response);
}

HttpReply Console::Generate(const Call& call) {
  const Slot slot(&asks_, options_.max_asks);
  if (!slot.taken()) return Busy("questions", options_.max_asks);
  v1::GenerateRequest request;
  const auto parsed = google::protobuf::util::JsonStringToMessage(call.http.body, &request);
  if (!parsed.ok()) {
    return InvalidRequest(
        absl::StrCat("the body is not a GenerateRequest: ",
                     absl::string_view(parsed.message().data(), parsed.message().size())));
  }
  call.context.set_deadline(absl::ToChronoTime(absl::Now() + options_.ask_time));
  v1::GenerateResponse response;
  return Answer(
      v1::GenerationService::NewStub(call.channel)->Generate(&call.context, request, &response),
      response);
}

}  // namespace amend
