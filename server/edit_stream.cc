#include "server/edit_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors.h"
#include "server/proto_conversion.h"
#include "server/request_validation.h"

namespace amend {
namespace {

// Responses that may wait before reading stops, above what the batches in flight can cause.
constexpr size_t kMaxWaitingResponses = 64;

}  // namespace

EditStream* EditStream::Create(const Environment& environment) {
  const std::shared_ptr<EditStream> stream(new EditStream(environment));
  stream->self_ = stream;
  absl::MutexLock lock(&stream->mutex_);
  stream->Advance();
  return stream.get();
}

void EditStream::OnReadDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  reading_ = false;
  if (ok) {
    HandleRequest();
  } else {
    half_closed_ = true;
  }
  Advance();
}

void EditStream::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  // Nothing reaches this client any more.
  if (!ok) cancelled_ = true;
  Advance();
}

void EditStream::OnCancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  Advance();
}

void EditStream::OnDone() {
  // May be the last reference: nothing of this object is touched after it.
  const std::shared_ptr<EditStream> self = std::move(self_);
}

void EditStream::HandleRequest() {
  if (finished_ || cancelled_ || end_) return;
  switch (request_.request_case()) {
    case v1::StreamEditsRequest::kStart:
      return HandleStart(request_.start());
    case v1::StreamEditsRequest::kBatch:
      if (!started_) break;
      return HandleBatch(request_.batch());
    case v1::StreamEditsRequest::kFlush:
      if (!started_) break;
      flushes_.push_back(last_submission_);
      return;
    case v1::StreamEditsRequest::REQUEST_NOT_SET:
      break;
  }
  EndWith(WithReason(
      absl::InvalidArgumentError(started_ ? "a message of the stream has neither batch nor flush"
                                          : "the first message of a stream has to be start"),
      "INVALID_REQUEST"));
}

void EditStream::HandleStart(const v1::StreamEditsRequest::Start& start) {
  if (started_) {
    return EndWith(WithReason(
        absl::InvalidArgumentError(absl::StrCat("session \"", session_, "\" is started already")),
        "INVALID_REQUEST"));
  }
  const absl::Status valid = ValidateStart(start);
  if (!valid.ok()) return EndWith(valid);
  session_ = start.session();
  promotion_ = PromotionFromProto(start.promotion());
  failure_ = FailurePolicyFromProto(start.failure_policy());
  thresholds_ = ThresholdsFromProto(start.thresholds(), environment_.default_thresholds);
  starting_ = true;
  const absl::Status submitted =
      environment_.executor->Submit([self = shared_from_this(), session = session_] {
        self->OnStarted(self->environment_.store->NextOffset(session));
      });
  if (!submitted.ok()) {
    starting_ = false;
    EndWith(submitted);
  }
}

void EditStream::OnStarted(const absl::StatusOr<int64_t>& next_offset) {
  absl::MutexLock lock(&mutex_);
  starting_ = false;
  if (next_offset.ok()) {
    started_ = true;
    settled_offset_ = *next_offset;
    Outgoing outgoing;
    auto& started = *outgoing.response.mutable_started();
    started.set_session(session_);
    started.set_next_offset(*next_offset);
    started.set_credits(environment_.credits);
    out_.push_back(std::move(outgoing));
  } else {
    EndWith(FromStore(next_offset.status()));
  }
  Advance();
}

void EditStream::HandleBatch(const v1::StreamEditsRequest::Batch& batch) {
  const BatchKey key{session_, batch.offset()};
  const int count = batch.batch().edits_size();
  const absl::Status valid = ValidateOffset(batch.offset());
  if (!valid.ok()) return Send(0, NotTaken(key, count, valid));
  if (static_cast<int>(in_flight_.size()) >= environment_.credits) {
    return Send(
        0, NotTaken(
               key, count,
               WithRetryDelay(WithReason(absl::ResourceExhaustedError(absl::StrCat(
                                             in_flight_.size(), " batches are in flight, at most ",
                                             environment_.credits, " may")),
                                         "CREDITS_EXCEEDED"),
                              absl::Seconds(1))));
  }
  if (environment_.caller != nullptr) {
    const absl::Status allowed = environment_.caller->TakeEdits(count);
    if (!allowed.ok()) return Send(0, NotTaken(key, count, allowed));
  }
  const int64_t id = ++last_submission_;
  in_flight_[id] = batch.offset();
  BatchSubmission submission;
  submission.key = key;
  submission.edits = EditsFromProto(batch.batch());
  submission.promotion = promotion_;
  submission.failure = failure_;
  submission.thresholds = thresholds_;
  submission.actor = environment_.actor;
  submission.trace_id = environment_.trace_id;
  submission.listener.owner = weak_from_this();
  // Called only while this object lives.
  submission.listener.on_status = [this, id](const v1::EditBatchStatus& status) {
    OnBatchStatus(id, status);
  };
  const absl::Status submitted = environment_.intake->Submit(std::move(submission));
  if (submitted.ok()) return;
  in_flight_.erase(id);
  Send(id, NotTaken(key, count, submitted));
}

void EditStream::OnBatchStatus(int64_t submission, const v1::EditBatchStatus& status) {
  absl::MutexLock lock(&mutex_);
  const auto found = in_flight_.find(submission);
  if (finished_ || found == in_flight_.end()) return;
  if (IsLast(status)) {
    if (status.stage() != v1::BATCH_STAGE_UNSPECIFIED) {
      settled_offset_ = std::max(settled_offset_, found->second + 1);
    }
    in_flight_.erase(found);
  }
  Send(submission, status);
  Advance();
}

void EditStream::Send(int64_t submission, const v1::EditBatchStatus& status) {
  if (status.stage() == v1::SOLVING) {
    const auto waiting = std::find_if(
        out_.rbegin(), out_.rend(), [&](const Outgoing& o) { return o.submission == submission; });
    if (waiting != out_.rend() && waiting->response.batch().stage() == v1::SOLVING) {
      *waiting->response.mutable_batch() = status;
      return;
    }
  }
  Outgoing outgoing;
  outgoing.submission = submission;
  *outgoing.response.mutable_batch() = status;
  out_.push_back(std::move(outgoing));
}

void EditStream::EndWith(const absl::Status& status) {
  if (!end_) end_ = status;
}

void EditStream::AnswerFlushes() {
  while (!flushes_.empty() &&
         (in_flight_.empty() || in_flight_.begin()->first > flushes_.front())) {
    flushes_.pop_front();
    Outgoing outgoing;
    outgoing.response.mutable_flushed()->set_next_offset(FlushedOffset());
    out_.push_back(std::move(outgoing));
  }
}

int64_t EditStream::FlushedOffset() const {
  // Batches of an earlier stream of this session may still be on their way.
  const std::optional<int64_t> pending = environment_.coordinator->FirstPendingOffset(session_);
  return pending ? std::min(*pending, settled_offset_) : settled_offset_;
}

bool EditStream::MayRead() const {
  return !reading_ && !half_closed_ && !starting_ && !end_ &&
         out_.size() + flushes_.size() < kMaxWaitingResponses;
}

void EditStream::Advance() {
  if (finished_) return;
  if (cancelled_) {
    if (writing_) return;
    finished_ = true;
    Finish(grpc::Status::CANCELLED);
    return;
  }
  AnswerFlushes();
  if (!writing_ && !out_.empty()) {
    response_ = std::move(out_.front().response);
    out_.pop_front();
    writing_ = true;
    StartWrite(&response_);
  }
  if (MayRead()) {
    reading_ = true;
    StartRead(&request_);
  }
  const bool all_told = half_closed_ && !starting_ && in_flight_.empty() && flushes_.empty();
  if (!writing_ && out_.empty() && (end_ || all_told)) {
    finished_ = true;
    Finish(ToGrpcStatus(end_.value_or(absl::OkStatus())));
  }
}

}  // namespace amend
