#include "client/testing/fake_server.h"

#include <algorithm>
#include <deque>
#include <thread>  // NOLINT: reads requests while answers are held back

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "client/sha256.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/server_builder.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

// How long an excess batch has time to arrive.
constexpr absl::Duration kMoment = absl::Milliseconds(50);

google::rpc::Status MakeError(grpc::StatusCode code, const std::string& message,
                              const std::string& reason) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("amend");
  status.add_details()->PackFrom(info);
  return status;
}

grpc::Status Error(grpc::StatusCode code, const std::string& message, const std::string& reason) {
  return grpc::Status(code, message, MakeError(code, message, reason).SerializeAsString());
}

std::vector<std::string> Words(const std::string& text) {
  return absl::StrSplit(text, ' ', absl::SkipEmpty());
}

}  // namespace

FakeServer::FakeServer(FakeServerOptions options) : options_(std::move(options)) {
  models_.emplace_back();
  revisions_.emplace_back();
  revisions_.back().set_state(v1::Revision::VALIDATED);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(static_cast<v1::EditService::Service*>(this));
  builder.RegisterService(static_cast<v1::GenerationService::Service*>(this));
  builder.RegisterService(static_cast<v1::RevisionService::Service*>(this));
  builder.RegisterService(static_cast<v1::AdminService::Service*>(this));
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeServer::~FakeServer() { server_->Shutdown(); }

void FakeServer::Teach(const std::string& prompt, const std::string& answer) {
  absl::MutexLock lock(&mutex_);
  for (auto& model : models_) model.emplace(prompt, answer);
}

void FakeServer::LeavePending(const std::string& session, int64_t offset) {
  absl::MutexLock lock(&mutex_);
  v1::EditBatchStatus& status = ledger_[{session, offset}];
  status.set_session(session);
  status.set_offset(offset);
  status.set_stage(v1::DURABLE);
}

int64_t FakeServer::live() const {
  absl::MutexLock lock(&mutex_);
  return live_;
}

int64_t FakeServer::solved_batches() const {
  absl::MutexLock lock(&mutex_);
  return solved_;
}

int FakeServer::max_in_flight() const {
  absl::MutexLock lock(&mutex_);
  return max_in_flight_;
}

int FakeServer::streams() const {
  absl::MutexLock lock(&mutex_);
  return streams_;
}

std::vector<v1::EditBatch> FakeServer::received(const std::string& session) const {
  absl::MutexLock lock(&mutex_);
  const auto it = received_.find(session);
  return it == received_.end() ? std::vector<v1::EditBatch>() : it->second;
}

// One stream: requests are read on a thread of their own, so that answers can wait for them.
class FakeServer::StreamHandler {
 public:
  StreamHandler(FakeServer* server, EditStream* stream, int responses_left)
      : server_(server), stream_(stream), responses_left_(responses_left) {}

  grpc::Status Run(grpc::ServerContext* context) {
    v1::StreamEditsRequest start;
    if (!stream_->Read(&start) || !start.has_start()) {
      return Error(grpc::StatusCode::INVALID_ARGUMENT, "the first request is not `start`",
                   "START_MISSING");
    }
    start_ = start.start();
    v1::StreamEditsResponse response;
    response.mutable_started()->set_session(start_.session());
    response.mutable_started()->set_credits(server_->options_.credits);
    {
      absl::MutexLock lock(&server_->mutex_);
      response.mutable_started()->set_next_offset(server_->NextOffset(start_.session()));
    }
    std::thread reader;
    bool alive = Send(response);
    if (alive) reader = std::thread([this] { ReadAll(); });
    while (alive && Next(&start)) alive = Handle(start);
    if (!alive) context->TryCancel();
    if (reader.joinable()) reader.join();
    return alive ? grpc::Status::OK : grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  }

 private:
  void ReadAll() {
    v1::StreamEditsRequest request;
    while (stream_->Read(&request)) {
      absl::MutexLock lock(&mutex_);
      if (request.has_batch()) ++in_flight_;
      max_in_flight_ = std::max(max_in_flight_, in_flight_);
      queue_.push_back(request);
    }
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }

  bool Next(v1::StreamEditsRequest* request) {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](StreamHandler* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mutex_) {
          return self->closed_ || !self->queue_.empty();
        },
        this));
    if (queue_.empty()) return false;
    if (server_->options_.wait_for_excess_batches) {
      mutex_.AwaitWithTimeout(
          absl::Condition(
              +[](StreamHandler* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mutex_) {
                return self->in_flight_ > self->server_->options_.credits;
              },
              this),
          kMoment);
    }
    *request = queue_.front();
    queue_.pop_front();
    if (request->has_batch()) --in_flight_;
    absl::MutexLock server_lock(&server_->mutex_);
    server_->max_in_flight_ = std::max(server_->max_in_flight_, max_in_flight_);
    return true;
  }

  bool Handle(const v1::StreamEditsRequest& request) {
    v1::StreamEditsResponse response;
    if (request.has_flush()) {
      absl::MutexLock lock(&server_->mutex_);
      response.mutable_flushed()->set_next_offset(server_->NextOffset(start_.session()));
      return Send(response);
    }
    const int64_t offset = request.batch().offset();
    for (const auto& status : server_->Take(start_.session(), offset, start_.promotion(),
                                            start_.failure_policy(), request.batch().batch())) {
      const auto& silent = server_->options_.silent_offsets;
      if (std::count(silent.begin(), silent.end(), offset) != 0) continue;
      *response.mutable_batch() = status;
      if (!Send(response)) return false;
    }
    return true;
  }

  bool Send(const v1::StreamEditsResponse& response) {
    if (responses_left_ == 0) return false;
    if (responses_left_ > 0) --responses_left_;
    return stream_->Write(response);
  }

  FakeServer* const server_;
  EditStream* const stream_;
  int responses_left_;  // Negative: no limit.
  v1::StreamEditsRequest::Start start_;
  absl::Mutex mutex_;
  std::deque<v1::StreamEditsRequest> queue_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  int max_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
};

grpc::Status FakeServer::StreamEdits(grpc::ServerContext* context, EditStream* stream) {
  bool breaks;
  {
    absl::MutexLock lock(&mutex_);
    breaks = ++streams_ == 1 || options_.break_every_stream;
  }
  return StreamHandler(this, stream, breaks ? options_.break_first_stream_after : -1).Run(context);
}

int64_t FakeServer::NextOffset(const std::string& session) const {
  int64_t next = 0;
  while (ledger_.count({session, next}) != 0) ++next;
  return next;
}

// The statuses that a stream sends for one batch.
std::vector<v1::EditBatchStatus> FakeServer::Take(const std::string& session, int64_t offset,
                                                  v1::Promotion promotion,
                                                  v1::FailurePolicy failure,
                                                  const v1::EditBatch& batch) {
  absl::MutexLock lock(&mutex_);
  const auto recorded = ledger_.find({session, offset});
  if (recorded != ledger_.end()) {
    v1::EditBatchStatus status = recorded->second;
    status.set_replayed(true);
    return {status};
  }
  v1::EditBatchStatus status;
  status.set_session(session);
  status.set_offset(offset);
  const int64_t next = NextOffset(session);
  if (options_.refuse_first_batch && refused_ == 0) {
    ++refused_;
    *status.mutable_error() =
        MakeError(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full", "QUEUE_FULL");
    return {status};
  }
  if (offset != next) {
    *status.mutable_error() =
        MakeError(grpc::StatusCode::OUT_OF_RANGE,
                  absl::StrCat("offset ", offset, ", next_offset is ", next), "OFFSET_GAP");
    return {status};
  }
  received_[session].push_back(batch);
  status.set_edit_count(batch.edits_size());
  std::vector<v1::EditBatchStatus> sent;
  for (const v1::BatchStage stage : {v1::ACCEPTED, v1::DURABLE, v1::SOLVING}) {
    status.set_stage(stage);
    if (stage == v1::SOLVING) {
      status.mutable_progress()->set_phase(v1::SolveProgress::TARGET_VALUES);
      status.mutable_progress()->set_total(batch.edits_size());
    }
    sent.push_back(status);
  }
  status.clear_progress();
  Solve(promotion, failure, batch, &status);
  ledger_[{session, offset}] = status;
  sent.push_back(status);
  return sent;
}

void FakeServer::Solve(v1::Promotion promotion, v1::FailurePolicy failure,
                       const v1::EditBatch& batch, v1::EditBatchStatus* status) {
  ++solved_;
  bool rejected = false;
  bool failed = false;
  for (int i = 0; i < batch.edits_size(); ++i) {
    const v1::Edit& edit = batch.edits(i);
    v1::EditResult* result = status->add_edit_results();
    result->set_index(i);
    result->set_client_edit_id(edit.client_edit_id());
    if (!absl::StrContains(edit.prompt(), edit.subject())) {
      failed = true;
      result->mutable_violation()->set_field(absl::StrCat("batch.edits[", i, "].subject"));
      result->mutable_violation()->set_description("is not in the prompt");
      continue;
    }
    const bool bad = edit.target_new() == "reject me";
    if (bad && failure == v1::DROP_FAILING) {
      result->set_dropped(true);
    } else {
      rejected |= bad;
    }
    result->set_reliability(bad ? 0.25 : 1);
    if (edit.paraphrases_size() > 0) result->set_generality(1);
    if (edit.locality_probes_size() > 0) result->set_locality(1);
    result->set_passed(!bad);
  }
  if (failed) {
    status->set_stage(v1::FAILED);
    *status->mutable_error() =
        MakeError(grpc::StatusCode::INVALID_ARGUMENT, "the batch is malformed", "EDIT_INVALID");
    return;
  }
  v1::Revision revision;
  revision.set_revision(static_cast<int64_t>(revisions_.size()));
  revision.set_parent(live_);
  revision.set_session(status->session());
  revision.set_offset(status->offset());
  revision.set_edit_count(batch.edits_size());
  revision.set_line_edit_count(revisions_[live_].line_edit_count() + batch.edits_size());
  revision.set_state(rejected ? v1::Revision::REJECTED : v1::Revision::VALIDATED);
  *revision.mutable_edits() = batch.edits();
  *revision.mutable_edit_results() = status->edit_results();
  revision.mutable_gate_report()->set_mode(v1::GateReport::ENFORCE);
  revision.mutable_gate_report()->set_passed(!rejected);
  revision.mutable_gate_report()->set_reliability(rejected ? 0.25 : 1);
  if (rejected) revision.mutable_gate_report()->add_failures("reliability 0.25 is below 0.90");
  *status->mutable_gate_report() = revision.gate_report();
  status->set_revision(revision.revision());
  auto model = models_[live_];
  for (const v1::Edit& edit : batch.edits()) model[edit.prompt()] = edit.target_new();
  models_.push_back(std::move(model));
  revisions_.push_back(std::move(revision));
  if (rejected) {
    status->set_stage(v1::REJECTED);
  } else if (promotion == v1::STAGE_ONLY) {
    status->set_stage(v1::VALIDATED);
  } else {
    status->set_stage(v1::LIVE);
    live_ = status->revision();
    ++moves_;
  }
}

grpc::Status FakeServer::SubmitEditBatch(grpc::ServerContext*,
                                         const v1::SubmitEditBatchRequest* request,
                                         v1::SubmitEditBatchResponse* response) {
  absl::MutexLock lock(&mutex_);
  response->mutable_batch()->set_edit_count(request->batch().edits_size());
  Solve(request->promotion(), request->failure_policy(), request->batch(),
        response->mutable_batch());
  return grpc::Status::OK;
}

grpc::Status FakeServer::CancelEditBatch(grpc::ServerContext*,
                                         const v1::CancelEditBatchRequest* request,
                                         v1::EditBatchStatus* response) {
  absl::MutexLock lock(&mutex_);
  const auto it = ledger_.find({request->session(), request->offset()});
  if (it == ledger_.end()) {
    return Error(grpc::StatusCode::NOT_FOUND, "no such batch", "BATCH_NOT_FOUND");
  }
  if (it->second.stage() != v1::DURABLE) {
    return Error(grpc::StatusCode::FAILED_PRECONDITION, "the batch is done", "BATCH_CONCLUDED");
  }
  it->second.set_stage(v1::FAILED);
  *it->second.mutable_error() =
      MakeError(grpc::StatusCode::CANCELLED,
                absl::StrCat("cancelled by a client: ", request->reason()), "CANCELLED_BY_CLIENT");
  *response = it->second;
  return grpc::Status::OK;
}

grpc::Status FakeServer::GetEditBatch(grpc::ServerContext*, const v1::GetEditBatchRequest* request,
                                      v1::EditBatchStatus* response) {
  absl::MutexLock lock(&mutex_);
  const auto it = ledger_.find({request->session(), request->offset()});
  if (it == ledger_.end()) {
    return Error(grpc::StatusCode::NOT_FOUND, "no such batch", "BATCH_NOT_FOUND");
  }
  *response = it->second;
  return grpc::Status::OK;
}

grpc::Status FakeServer::Resolve(const v1::RevisionSelector& at, int64_t* revision) const {
  *revision = at.has_revision() ? at.revision() : live_;
  if (at.has_label() && at.label() != "live") {
    return Error(grpc::StatusCode::NOT_FOUND, absl::StrCat("label ", at.label(), " is unknown"),
                 "LABEL_NOT_FOUND");
  }
  if (*revision < 0 || *revision >= static_cast<int64_t>(models_.size())) {
    return Error(
        grpc::StatusCode::NOT_FOUND,
        absl::StrCat("revision ", *revision, " is unknown, the newest is ", models_.size() - 1),
        "REVISION_NOT_FOUND");
  }
  return grpc::Status::OK;
}

std::string FakeServer::Answer(int64_t revision, const std::string& prompt) const {
  const auto& model = models_[revision];
  const auto it = model.find(prompt);
  return it == model.end() ? "nothing that I know" : it->second;
}

int32_t FakeServer::WordId(const std::string& word) {
  return words_.emplace(word, static_cast<int32_t>(words_.size())).first->second;
}

grpc::Status FakeServer::Generate(grpc::ServerContext*, const v1::GenerateRequest* request,
                                  v1::GenerateResponse* response) {
  absl::MutexLock lock(&mutex_);
  int64_t revision;
  const grpc::Status status = Resolve(request->at(), &revision);
  if (!status.ok()) return status;
  std::vector<std::string> words = Words(Answer(revision, request->prompt()));
  words.push_back("indeed");  // Models do not stop after the answer.
  if (request->max_new_tokens() > 0 && request->max_new_tokens() < static_cast<int>(words.size())) {
    words.resize(request->max_new_tokens());
  }
  for (const std::string& word : words) response->add_token_ids(WordId(word));
  response->set_text(absl::StrCat(" ", absl::StrJoin(words, " ")));
  response->set_revision(revision);
  response->set_finish_reason(v1::LENGTH);
  response->mutable_usage()->set_prompt_tokens(static_cast<int>(Words(request->prompt()).size()));
  response->mutable_usage()->set_generated_tokens(static_cast<int>(words.size()));
  if (request->trace_hooks() && revision > 0) {
    v1::HookFiring* firing = response->add_hook_firings();
    firing->set_revision(revision);
    firing->set_layer(1);
    firing->set_token_position(2);
    firing->set_relative_activation(0.9f);
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::GenerateStream(grpc::ServerContext* context,
                                        const v1::GenerateRequest* request,
                                        grpc::ServerWriter<v1::GenerateStreamResponse>* writer) {
  v1::GenerateResponse whole;
  const grpc::Status status = Generate(context, request, &whole);
  if (!status.ok()) return status;
  const std::vector<std::string> words = Words(whole.text());
  for (size_t i = 0; i < words.size(); ++i) {
    v1::GenerateStreamResponse part;
    part.set_text(absl::StrCat(" ", words[i]));
    part.add_token_ids(whole.token_ids(static_cast<int>(i)));
    if (i == 0) part.set_revision(whole.revision());
    writer->Write(part);
  }
  v1::GenerateStreamResponse last;
  last.set_revision(whole.revision());
  last.set_finish_reason(whole.finish_reason());
  *last.mutable_usage() = whole.usage();
  *last.mutable_hook_firings() = whole.hook_firings();
  writer->Write(last);
  return grpc::Status::OK;
}

grpc::Status FakeServer::Score(grpc::ServerContext*, const v1::ScoreRequest* request,
                               v1::ScoreResponse* response) {
  absl::MutexLock lock(&mutex_);
  int64_t revision;
  const grpc::Status status = Resolve(request->at(), &revision);
  if (!status.ok()) return status;
  response->set_revision(revision);
  for (const auto& item : request->items()) {
    auto* result = response->add_results();
    const std::vector<std::string> answer = Words(Answer(revision, item.prompt()));
    const std::vector<std::string> wanted = Words(item.continuation());
    for (size_t i = 0; i < wanted.size(); ++i) {
      result->add_token_ids(WordId(wanted[i]));
      result->add_argmax_ids(i < answer.size() ? WordId(answer[i]) : -1);
      result->add_logprobs(-1);
    }
  }
  return grpc::Status::OK;
}

void FakeServer::FillLabel(v1::Label* label) const {
  label->set_name("live");
  label->set_revision(live_);
  label->set_etag(absl::StrCat("e", moves_));
}

grpc::Status FakeServer::GetRevision(grpc::ServerContext*, const v1::GetRevisionRequest* request,
                                     v1::Revision* response) {
  absl::MutexLock lock(&mutex_);
  v1::RevisionSelector at;
  if (request->has_revision()) at.set_revision(request->revision());
  int64_t revision;
  const grpc::Status status = Resolve(at, &revision);
  if (!status.ok()) return status;
  *response = revisions_[revision];
  if (revision == live_) response->add_labels("live");
  return grpc::Status::OK;
}

grpc::Status FakeServer::ListRevisions(grpc::ServerContext*,
                                       const v1::ListRevisionsRequest* request,
                                       v1::ListRevisionsResponse* response) {
  absl::MutexLock lock(&mutex_);
  // Two a page, so that clients have to turn it. Revision 0 is implied and not listed.
  size_t end = revisions_.size();
  if (!request->page_token().empty()) end = std::stoul(request->page_token());
  for (int i = 0; i < 2 && end > 1; ++i) {
    v1::Revision* revision = response->add_revisions();
    *revision = revisions_[--end];
    revision->clear_edits();
    if (revision->revision() == live_) revision->add_labels("live");
  }
  if (end > 1) response->set_next_page_token(absl::StrCat(end));
  FillLabel(response->mutable_live());
  return grpc::Status::OK;
}

grpc::Status FakeServer::Promote(grpc::ServerContext*, const v1::PromoteRequest* request,
                                 v1::PromoteResponse* response) {
  absl::MutexLock lock(&mutex_);
  if (!request->etag().empty() && request->etag() != absl::StrCat("e", moves_)) {
    return Error(grpc::StatusCode::ABORTED,
                 absl::StrCat("etag ", request->etag(), ", live is at e", moves_), "LIVE_CHANGED");
  }
  v1::RevisionSelector at;
  at.set_revision(request->revision());
  int64_t revision;
  const grpc::Status status = Resolve(at, &revision);
  if (!status.ok()) return status;
  response->set_previous_revision(live_);
  live_ = revision;
  ++moves_;
  FillLabel(response->mutable_label());
  return grpc::Status::OK;
}

grpc::Status FakeServer::Rollback(grpc::ServerContext*, const v1::RollbackRequest* request,
                                  v1::RollbackResponse* response) {
  absl::MutexLock lock(&mutex_);
  if (request->reason().empty()) {
    return Error(grpc::StatusCode::INVALID_ARGUMENT, "reason is empty", "REASON_MISSING");
  }
  response->set_previous_revision(live_);
  live_ = request->has_revision() ? request->revision() : revisions_[live_].parent();
  ++moves_;
  FillLabel(response->mutable_label());
  return grpc::Status::OK;
}

grpc::Status FakeServer::WithdrawEdits(grpc::ServerContext*,
                                       const v1::WithdrawEditsRequest* request,
                                       v1::WithdrawEditsResponse* response) {
  absl::MutexLock lock(&mutex_);
  v1::Revision revision;
  revision.set_parent(live_);
  revision.set_state(v1::Revision::VALIDATED);
  revision.set_line_edit_count(revisions_[live_].line_edit_count() - request->edits_size());
  *revision.mutable_withdrawn() = request->edits();
  v1::GateReport* gate = revision.mutable_gate_report();
  gate->set_reverted(1);
  auto model = models_[live_];
  for (const v1::EditReference& edit : request->edits()) {
    const auto number = static_cast<size_t>(edit.revision());
    if (number >= revisions_.size() || edit.edit_index() >= revisions_[number].edits_size()) {
      return Error(grpc::StatusCode::NOT_FOUND, "there is no such edit", "EDIT_NOT_FOUND");
    }
    const std::string prompt = revisions_[number].edits(edit.edit_index()).prompt();
    model.erase(prompt);
    for (size_t later = number + 1; later < revisions_.size(); ++later) {
      for (int i = 0; i < revisions_[later].edits_size(); ++i) {
        if (revisions_[later].edits(i).prompt() != prompt) continue;
        v1::EditReference* broken = gate->add_broken_edits();
        broken->set_revision(static_cast<int64_t>(later));
        broken->set_edit_index(i);
        revision.set_state(v1::Revision::REJECTED);
      }
    }
  }
  gate->set_retained_edits(gate->broken_edits_size() + 1);
  const bool validated = revision.state() == v1::Revision::VALIDATED;
  if (!request->validate_only()) {
    revision.set_revision(static_cast<int64_t>(revisions_.size()));
    revisions_.push_back(revision);
    models_.push_back(std::move(model));
    if (validated && request->promotion() != v1::STAGE_ONLY) {
      live_ = revision.revision();
      ++moves_;
    }
  }
  *response->mutable_revision() = std::move(revision);
  FillLabel(response->mutable_label());
  return grpc::Status::OK;
}

grpc::Status FakeServer::ExportRevision(grpc::ServerContext*,
                                        const v1::ExportRevisionRequest* request,
                                        grpc::ServerWriter<v1::ExportRevisionResponse>* writer) {
  v1::RevisionSelector at;
  if (request->has_revision()) at.set_revision(request->revision());
  if (request->has_label()) at.set_label(request->label());
  int64_t revision;
  {
    absl::MutexLock lock(&mutex_);
    const grpc::Status status = Resolve(at, &revision);
    if (!status.ok()) return status;
  }
  std::vector<std::string> names = {"config.json", "model.safetensors"};
  if (request->projections_only()) names = {"merged_projections.safetensors"};
  const auto content = [&](const std::string& name) {
    return absl::StrCat(name, " of revision ", revision);
  };
  v1::ExportRevisionResponse message;
  message.mutable_start()->set_revision(revision);
  for (const std::string& name : names) {
    v1::ExportFile* const file = message.mutable_start()->add_files();
    file->set_name(name);
    file->set_size(static_cast<int64_t>(content(name).size()));
  }
  writer->Write(message);
  for (size_t i = 0; i < names.size(); ++i) {
    std::string bytes = content(names[i]);
    Sha256 digest;
    digest.Update(bytes);
    if (options_.spoil_exports) bytes[0] ^= 1;
    v1::ExportChunk* const chunk = message.mutable_chunk();
    chunk->set_file(static_cast<int32_t>(i));
    chunk->set_bytes(bytes);
    chunk->set_sha256(digest.HexDigest());
    writer->Write(message);
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                                       v1::ServerInfo* response) {
  absl::MutexLock lock(&mutex_);
  response->set_version("fake");
  response->mutable_model()->set_name("words");
  response->set_latest_revision(static_cast<int64_t>(revisions_.size()) - 1);
  FillLabel(response->mutable_live());
  return grpc::Status::OK;
}

grpc::Status FakeServer::CreateBackup(grpc::ServerContext*, const v1::CreateBackupRequest*,
                                      v1::Backup* response) {
  absl::MutexLock lock(&mutex_);
  response->set_number(backups_.empty() ? 1 : backups_.rbegin()->first + 1);
  response->set_live_revision(live_);
  response->set_latest_revision(static_cast<int64_t>(revisions_.size()) - 1);
  response->set_store_digest("d1ge57");
  response->set_bytes(2'500'000);
  backups_[response->number()] = *response;
  return grpc::Status::OK;
}

grpc::Status FakeServer::ListBackups(grpc::ServerContext*, const v1::ListBackupsRequest*,
                                     v1::ListBackupsResponse* response) {
  absl::MutexLock lock(&mutex_);
  for (auto it = backups_.rbegin(); it != backups_.rend(); ++it) {
    *response->add_backups() = it->second;
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::DeleteBackup(grpc::ServerContext*, const v1::DeleteBackupRequest* request,
                                      v1::DeleteBackupResponse*) {
  absl::MutexLock lock(&mutex_);
  if (backups_.erase(request->number()) == 1) return grpc::Status::OK;
  return Error(grpc::StatusCode::NOT_FOUND, absl::StrCat("no backup ", request->number()),
               "BACKUP_NOT_FOUND");
}

grpc::Status FakeServer::VerifyStore(grpc::ServerContext*, const v1::VerifyStoreRequest*,
                                     grpc::ServerWriter<v1::VerifyStoreResponse>* writer) {
  v1::VerifyStoreResponse response;
  response.set_records(5);
  writer->Write(response);
  response.set_records(10);
  response.set_blobs(4);
  response.set_bytes(2'500'000);
  v1::VerifyReport* const report = response.mutable_report();
  report->set_live_revision(live());
  report->set_latest_revision(live());
  report->set_store_digest("d1ge57");
  report->set_damage_count(options_.damages);
  for (int i = 0; i < options_.damages; ++i) {
    v1::StoreDamage* const damage = report->add_damages();
    damage->set_key(absl::StrCat("factors/", i));
    damage->set_expected_digest("aa");
    damage->set_found_digest("bb");
    damage->set_description("is damaged");
  }
  writer->Write(response);
  return grpc::Status::OK;
}

}  // namespace amend::client
