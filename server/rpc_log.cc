#include "server/rpc_log.h"

#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "server/errors.h"
#include "server/rpc_method.h"
#include "server/security/call_context.h"
#include "server/trace_context.h"

namespace amend {
namespace {

using google::protobuf::FieldDescriptor;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;

constexpr char kTraceparent[] = "traceparent";

// Where the method's answer says which revision it came from; null where it does not.
const FieldDescriptor* RevisionField(const google::protobuf::MethodDescriptor* method) {
  if (method == nullptr) return nullptr;
  const FieldDescriptor* const field = method->output_type()->FindFieldByName("revision");
  const bool fits = field != nullptr && !field->is_repeated() &&
                    field->cpp_type() == FieldDescriptor::CPPTYPE_INT64;
  return fits ? field : nullptr;
}

bool IsOurFault(grpc::StatusCode code) {
  return code == grpc::StatusCode::INTERNAL || code == grpc::StatusCode::UNKNOWN ||
         code == grpc::StatusCode::DATA_LOSS;
}

std::string NameOf(grpc::StatusCode code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

// One RPC. gRPC calls it from one thread at a time and deletes it at the end.
class RpcLogInterceptor final : public grpc::experimental::Interceptor {
 public:
  RpcLogInterceptor(EventLog* log, const std::function<uint64_t()>& random, ServerRpcInfo& info)
      : log_(log),
        random_(random),
        call_(dynamic_cast<CallContext*>(info.server_context())),
        start_(absl::Now()) {
    const auto* const method = FindRpcMethod(info.method());
    // A client may call what it likes; only names that exist are written.
    if (method != nullptr) method_ = info.method();
    revision_field_ = RevisionField(method);
  }

  ~RpcLogInterceptor() override {
    const grpc::StatusCode code =
        // Of an RPC that ends without a status: its client went away.
        status_ ? status_->error_code() : grpc::StatusCode::CANCELLED;
    const LogLevel level = IsOurFault(code) ? LogLevel::kError : LogLevel::kAccess;
    if (!log_->Writes(level)) return;
    EnsureContext();
    std::vector<LogField> fields = {{"trace_id", context_->trace_id},
                                    {"span_id", context_->span_id},
                                    {"method", method_},
                                    {"code", NameOf(code)},
                                    {"seconds", absl::ToDoubleSeconds(absl::Now() - start_)}};
    if (revision_) fields.push_back({"revision", *revision_});
    if (status_ && !status_->ok()) {
      const std::string reason = ReasonOf(*status_);
      if (!reason.empty()) fields.push_back({"reason", reason});
      if (log_->Writes(LogLevel::kDebug)) fields.push_back({"message", status_->error_message()});
    }
    log_->Write(level, "rpc", fields);
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      ReadCaller(*methods->GetRecvInitialMetadata());
      EnsureContext();
      if (call_ != nullptr) call_->trace_id = context_->trace_id;
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      AddTo(methods->GetSendInitialMetadata());
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      ReadRevision(methods->GetSendMessage());
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      status_ = methods->GetSendStatus();
      AddTo(methods->GetSendTrailingMetadata());
    }
    methods->Proceed();
  }

 private:
  void EnsureContext() {
    if (!context_) context_ = NewSpan(std::nullopt, random_);
  }

  void ReadCaller(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
    const auto found = metadata.find(kTraceparent);
    if (found == metadata.end()) return;
    const auto caller = ParseTraceparent({found->second.data(), found->second.size()});
    if (caller) context_ = NewSpan(caller, random_);
  }

  void AddTo(std::multimap<std::string, std::string>* metadata) {
    if (metadata == nullptr) return;
    EnsureContext();
    metadata->emplace(kTraceparent, TraceparentOf(*context_));
  }

  // A message of the method's output type, or null where gRPC has its bytes alone.
  void ReadRevision(const void* sent) {
    if (sent == nullptr || revision_field_ == nullptr) return;
    const auto& message = *static_cast<const google::protobuf::Message*>(sent);
    const int64_t revision = message.GetReflection()->GetInt64(message, revision_field_);
    // Of a stream the first and the last message have it.
    if (revision != 0 || !revision_) revision_ = revision;
  }

  EventLog* const log_;
  const std::function<uint64_t()>& random_;
  // Null where the server has contexts of another kind.
  CallContext* const call_;
  const absl::Time start_;
  std::string method_ = "unknown";
  const FieldDescriptor* revision_field_ = nullptr;
  std::optional<TraceContext> context_;
  std::optional<int64_t> revision_;
  std::optional<grpc::Status> status_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  Factory(EventLog* log, std::function<uint64_t()> random)
      : log_(log), random_(std::move(random)) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new RpcLogInterceptor(log_, random_, *info);
  }

 private:
  EventLog* const log_;
  const std::function<uint64_t()> random_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeRpcLogFactory(
    EventLog* log, std::function<uint64_t()> random) {
  return std::make_unique<Factory>(log, std::move(random));
}

uint64_t RandomBits() {
  thread_local std::mt19937_64 generator{(static_cast<uint64_t>(std::random_device()()) << 32) |
                                         std::random_device()()};
  return generator();
}

}  // namespace amend
