#include "server/generation_service.h"

#include <atomic>
#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"
#include "server/errors.h"
#include "server/out_of_memory.h"
#include "server/security/call_context.h"
#include "server/security/cancellable_stream.h"

namespace amend {
namespace {

v1::FinishReason ToProto(EndReason reason) {
  switch (reason) {
    case EndReason::kLength:
      return v1::LENGTH;
    case EndReason::kStop:
      return v1::STOP;
    case EndReason::kEndOfText:
      return v1::END_OF_TEXT;
    case EndReason::kContextFull:
      return v1::CONTEXT_FULL;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

// GenerateResponse and GenerateStreamResponse have the same fields.
template <typename Response>
void AddEvent(const TokenEvent& event, bool logprobs, Response* response) {
  response->mutable_text()->append(event.text);
  response->mutable_token_ids()->Add(event.token_ids.begin(), event.token_ids.end());
  if (logprobs) response->mutable_logprobs()->Add(event.logprobs.begin(), event.logprobs.end());
  for (const HookFiring& firing : event.firings) {
    v1::HookFiring* out = response->add_hook_firings();
    out->set_token_position(static_cast<int32_t>(firing.packed_row));
    out->set_layer(firing.layer.value());
    out->set_revision(firing.edit.revision.value());
    out->set_edit_index(firing.edit.index);
    out->set_relative_activation(firing.relative_activation);
  }
}

template <typename Response>
void SetEnd(const GenerationEnd& end, Revision revision, Response* response) {
  response->set_revision(revision.value());
  response->set_finish_reason(ToProto(end.reason));
  response->mutable_usage()->set_prompt_tokens(end.prompt_tokens);
  response->mutable_usage()->set_cached_prompt_tokens(end.cached_tokens);
  response->mutable_usage()->set_generated_tokens(end.generated_tokens);
  v1::Timings* timings = response->mutable_timings();
  timings->set_queue_seconds(absl::ToDoubleSeconds(end.queue_time));
  timings->set_time_to_first_token_seconds(absl::ToDoubleSeconds(end.time_to_first_token));
  timings->set_total_seconds(absl::ToDoubleSeconds(end.total_time));
}

// Before the call is finished: its context, with the caller, ends after that.
void CountTokens(Caller* caller, const GenerationEnd& end) {
  if (caller != nullptr) caller->AddGeneratedTokens(end.generated_tokens);
}

// One Generate call. Alive until gRPC is done with it (`self_`) and the scheduler has dropped it.
class GenerateReactor final : public grpc::ServerUnaryReactor, public TokenSink {
 public:
  GenerateReactor(Caller* caller, Scheduler* scheduler, const v1::GenerateRequest& request,
                  Revision revision, v1::GenerateResponse* response)
      : caller_(caller),
        scheduler_(scheduler),
        logprobs_(request.logprobs()),
        revision_(revision),
        response_(response) {}

  static grpc::ServerUnaryReactor* Run(std::shared_ptr<GenerateReactor> reactor,
                                       GenerationJob job) {
    reactor->self_ = reactor;
    job.sink = reactor;
    const absl::Status status = reactor->scheduler_->Submit(std::move(job));
    if (!status.ok()) reactor->Finish(ToGrpcStatus(status));
    return reactor.get();
  }

  bool Cancelled() const override { return cancelled_; }
  bool HasRoom() const override { return true; }
  void OnTokens(TokenEvent event) override { AddEvent(event, logprobs_, response_); }
  void OnEnd(const GenerationEnd& end) override {
    CountTokens(caller_, end);
    if (end.status.ok()) SetEnd(end, revision_, response_);
    Finish(ToGrpcStatus(end.status));
  }

  void OnCancel() override {
    cancelled_ = true;
    scheduler_->Wake();
  }
  void OnDone() override { const std::shared_ptr<GenerateReactor> self = std::move(self_); }

 private:
  Caller* const caller_;
  Scheduler* const scheduler_;
  const bool logprobs_;
  const Revision revision_;
  v1::GenerateResponse* const response_;
  std::atomic<bool> cancelled_ = false;
  std::shared_ptr<GenerateReactor> self_;
};

// One GenerateStream call: messages wait in a bounded queue, one write is outstanding. Alive like
// GenerateReactor. Thread-safe.
class StreamReactor final : public grpc::ServerWriteReactor<v1::GenerateStreamResponse>,
                            public TokenSink,
                            public CancellableStream,
                            public std::enable_shared_from_this<StreamReactor> {
 public:
  StreamReactor(grpc::CallbackServerContext* context, Scheduler* scheduler,
                const v1::GenerateRequest& request, Revision revision, size_t max_messages)
      : context_(context),
        scheduler_(scheduler),
        logprobs_(request.logprobs()),
        revision_(revision),
        max_messages_(max_messages) {}

  static StreamReactor* Run(std::shared_ptr<StreamReactor> reactor, GenerationJob job) {
    reactor->self_ = reactor;
    job.sink = reactor;
    const absl::Status status = reactor->scheduler_->Submit(std::move(job));
    if (!status.ok()) reactor->Finish(ToGrpcStatus(status));
    return reactor.get();
  }

  bool Cancelled() const override { return cancelled_; }

  bool HasRoom() const override {
    absl::MutexLock lock(&mutex_);
    return messages_.size() < max_messages_;
  }

  void OnTokens(TokenEvent event) override {
    v1::GenerateStreamResponse message;
    AddEvent(event, logprobs_, &message);
    absl::MutexLock lock(&mutex_);
    if (!has_first_) message.set_revision(revision_.value());
    has_first_ = true;
    messages_.push_back(std::move(message));
    Advance();
  }

  void OnEnd(const GenerationEnd& end) override {
    absl::MutexLock lock(&mutex_);
    CountTokens(CallerOf(*context_), end);
    if (end.status.ok()) {
      messages_.emplace_back();
      SetEnd(end, revision_, &messages_.back());
    }
    ended_ = true;
    status_ = ToGrpcStatus(end.status);
    Advance();
    // A reader that takes nothing would never let the outstanding write end.
    if (absl::IsAborted(end.status) && !finished_) context_->TryCancel();
  }

  void OnWriteDone(bool ok) override {
    bool made_room = false;
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      made_room = messages_.size() >= max_messages_;
      messages_.pop_front();
      if (!ok) {
        broken_ = true;
        cancelled_ = true;
      }
      Advance();
    }
    if (made_room || !ok) scheduler_->Wake();
  }

  void OnCancel() override {
    cancelled_ = true;
    scheduler_->Wake();
  }
  void OnDone() override { const std::shared_ptr<StreamReactor> self = std::move(self_); }
  std::function<void()> Canceller() override { return CancellerOf(weak_from_this()); }

 private:
  // Starts what can be started. gRPC calls none of our methods from within StartWrite and Finish,
  // and nothing follows Finish.
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_) return;
    if (!messages_.empty() && !broken_) {
      writing_ = true;
      StartWrite(&messages_.front());
    } else if (ended_) {
      finished_ = true;
      Finish(status_);
    }
  }

  grpc::CallbackServerContext* const context_;
  Scheduler* const scheduler_;
  const bool logprobs_;
  const Revision revision_;
  const size_t max_messages_;
  std::atomic<bool> cancelled_ = false;
  std::shared_ptr<StreamReactor> self_;

  mutable absl::Mutex mutex_;
  // The first one is being written while `writing_`. A deque keeps it in its place.
  std::deque<v1::GenerateStreamResponse> messages_ ABSL_GUARDED_BY(mutex_);
  bool has_first_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

// A stream that was turned away.
class RefusedStream final : public grpc::ServerWriteReactor<v1::GenerateStreamResponse> {
 public:
  explicit RefusedStream(const absl::Status& status) { Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

// One Score call. Alive like GenerateReactor.
class ScoreReactor final : public grpc::ServerUnaryReactor, public ScoreSink {
 public:
  ScoreReactor(Scheduler* scheduler, const ScoreJob& job, v1::ScoreResponse* response)
      : scheduler_(scheduler), response_(response) {
    response->set_revision(job.snapshot->revision.value());
    for (const ScoreItem& item : job.items) {
      response->add_results()->mutable_token_ids()->Add(item.continuation.begin(),
                                                        item.continuation.end());
    }
  }

  static grpc::ServerUnaryReactor* Run(std::shared_ptr<ScoreReactor> reactor, ScoreJob job) {
    reactor->self_ = reactor;
    job.sink = reactor;
    const absl::Status status = reactor->scheduler_->Submit(std::move(job));
    if (!status.ok()) reactor->Finish(ToGrpcStatus(status));
    return reactor.get();
  }

  bool Cancelled() const override { return cancelled_; }
  void OnScores(absl::StatusOr<std::vector<ScoredContinuation>> scores) override {
    for (size_t i = 0; scores.ok() && i < scores->size(); ++i) {
      const ScoredContinuation& score = (*scores)[i];
      auto* result = response_->mutable_results(static_cast<int>(i));
      result->mutable_logprobs()->Add(score.logprobs.begin(), score.logprobs.end());
      result->mutable_argmax_ids()->Add(score.argmax.begin(), score.argmax.end());
    }
    Finish(ToGrpcStatus(scores.status()));
  }

  void OnCancel() override {
    cancelled_ = true;
    scheduler_->Wake();
  }
  void OnDone() override { const std::shared_ptr<ScoreReactor> self = std::move(self_); }

 private:
  Scheduler* const scheduler_;
  v1::ScoreResponse* const response_;
  std::atomic<bool> cancelled_ = false;
  std::shared_ptr<ScoreReactor> self_;
};

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

}  // namespace

GenerationService::GenerationService(Options options) : options_(std::move(options)) {}

absl::Status GenerationService::Rejected(absl::Status status) const {
  if (options_.observer != nullptr) options_.observer->OnRejection(ReasonOf(status));
  return status;
}

absl::StatusOr<std::shared_ptr<const Snapshot>> GenerationService::Resolve(
    const v1::RevisionSelector& at, int64_t min_revision) const {
  const std::string label = at.label().empty() ? "live" : at.label();
  const bool by_number = at.at_case() == v1::RevisionSelector::kRevision;
  AMEND_ASSIGN_OR_RETURN(auto snapshot, by_number
                                            ? options_.resolve_revision(Revision(at.revision()))
                                            : options_.resolve_label(label));
  const int64_t revision = snapshot->revision.value();
  if (revision >= min_revision) return snapshot;
  const std::string what =
      by_number ? absl::StrCat("the request asks for revision ", revision)
                : absl::StrCat("label \"", label, "\" stands at revision ", revision);
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat("min_revision is ", min_revision, ", ", what)),
      "MIN_REVISION_NOT_REACHED",
      {{"min_revision", absl::StrCat(min_revision)}, {"revision", absl::StrCat(revision)}});
}

absl::StatusOr<GenerationJob> GenerationService::Plan(const grpc::CallbackServerContext& context,
                                                      const v1::GenerateRequest& request) const {
  AMEND_RETURN_IF_ERROR(CheckMemoryIsLeft());
  AMEND_ASSIGN_OR_RETURN(GenerationPlan plan,
                         PlanGeneration(request, *options_.tokenizer, options_.limits));
  GenerationJob job;
  AMEND_ASSIGN_OR_RETURN(job.snapshot, Resolve(request.at(), request.min_revision()));
  job.prompt = std::move(plan.prompt);
  job.max_new_tokens = plan.max_new_tokens;
  job.sampling = plan.sampling;
  job.stop = std::move(plan.stop);
  job.trace_hooks = request.trace_hooks();
  job.request_bytes = static_cast<int64_t>(request.SpaceUsedLong());
  job.deadline = absl::FromChrono(context.deadline());
  return job;
}

absl::StatusOr<ScoreJob> GenerationService::Plan(const grpc::CallbackServerContext& context,
                                                 const v1::ScoreRequest& request) const {
  AMEND_RETURN_IF_ERROR(CheckMemoryIsLeft());
  ScoreJob job;
  AMEND_ASSIGN_OR_RETURN(job.items, PlanScore(request, *options_.tokenizer, options_.limits));
  AMEND_ASSIGN_OR_RETURN(job.snapshot, Resolve(request.at(), 0));
  job.request_bytes = static_cast<int64_t>(request.SpaceUsedLong());
  job.deadline = absl::FromChrono(context.deadline());
  return job;
}

grpc::ServerUnaryReactor* GenerationService::Generate(grpc::CallbackServerContext* context,
                                                      const v1::GenerateRequest* request,
                                                      v1::GenerateResponse* response) {
  auto job = Plan(*context, *request);
  if (!job.ok()) return Answer(context, Rejected(job.status()));
  auto reactor = std::make_shared<GenerateReactor>(CallerOf(*context), options_.scheduler, *request,
                                                   job->snapshot->revision, response);
  return GenerateReactor::Run(std::move(reactor), *std::move(job));
}

grpc::ServerWriteReactor<v1::GenerateStreamResponse>* GenerationService::GenerateStream(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  auto job = Plan(*context, *request);
  if (!job.ok()) return new RefusedStream(Rejected(job.status()));
  auto reactor = std::make_shared<StreamReactor>(context, options_.scheduler, *request,
                                                 job->snapshot->revision,
                                                 static_cast<size_t>(options_.max_stream_messages));
  return StreamReactor::Run(std::move(reactor), *std::move(job));
}

grpc::ServerUnaryReactor* GenerationService::Score(grpc::CallbackServerContext* context,
                                                   const v1::ScoreRequest* request,
                                                   v1::ScoreResponse* response) {
  auto job = Plan(*context, *request);
  if (!job.ok()) return Answer(context, Rejected(job.status()));
  auto reactor = std::make_shared<ScoreReactor>(options_.scheduler, *job, response);
  return ScoreReactor::Run(std::move(reactor), *std::move(job));
}

grpc::ServerUnaryReactor* GenerationService::Tokenize(grpc::CallbackServerContext* context,
                                                      const v1::TokenizeRequest* request,
                                                      v1::TokenizeResponse* response) {
  absl::Status status = CheckMemoryIsLeft();
  if (status.ok()) status = CheckUtf8("text", request->text());
  if (!status.ok()) return Answer(context, Rejected(status));
  for (const TokenId id : options_.tokenizer->Encode(request->text())) {
    response->add_token_ids(id);
    response->add_tokens(std::string(options_.tokenizer->TokenBytes(id)));
  }
  return Answer(context, absl::OkStatus());
}

}  // namespace amend
