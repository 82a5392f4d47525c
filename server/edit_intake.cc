#include "server/edit_intake.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/batch_cancels.h"
#include "server/errors.h"
#include "server/out_of_memory.h"
#include "server/proto_conversion.h"

namespace amend {
namespace {

std::string NameOf(const BatchKey& key) {
  return absl::StrCat("session \"", key.session, "\" offset ", key.offset);
}

absl::Status Draining() {
  return WithRetryDelay(
      WithReason(absl::UnavailableError("the server is shutting down"), "DRAINING"),
      absl::Seconds(1));
}

int CountOf(const BatchSubmission& submission) { return static_cast<int>(submission.edits.size()); }

LedgerEntry EntryOf(const BatchSubmission& submission) {
  LedgerEntry entry;
  entry.key = submission.key;
  entry.edits = submission.edits;
  entry.promotion = submission.promotion;
  entry.failure = submission.failure;
  entry.thresholds = submission.thresholds;
  entry.actor = submission.actor;
  return entry;
}

}  // namespace

EditIntake::EditIntake(RevisionStore* store, CheckEdits check_edits, EditEventHub* hub,
                       DurableBatchQueue* queue, EditObserver* observer, Options options)
    : store_(store),
      check_edits_(std::move(check_edits)),
      hub_(hub),
      queue_out_(queue),
      observer_(observer),
      options_(std::move(options)) {}

EditIntake::~EditIntake() { Stop(); }

void EditIntake::Start() {
  thread_ = std::thread([this] { Run(); });
}

void EditIntake::Stop() {
  std::deque<Arrival> left;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    left.swap(queue_in_);
  }
  if (thread_.joinable()) thread_.join();
  for (const Arrival& arrival : left) arrival.turn_down(Draining());
}

absl::Status EditIntake::Submit(BatchSubmission submission) {
  const auto shared = std::make_shared<const BatchSubmission>(std::move(submission));
  return Queue({[this, shared] { Take(*shared); },
                [shared](const absl::Status& status) { TurnDown(*shared, status); },
                TextBytes(shared->edits)});
}

void EditIntake::Cancel(CancelCommand command, CancelCallback done) {
  const absl::Status queued =
      Queue({[this, command = std::move(command), done] { TakeCancel(command, done); }, done, 0});
  if (!queued.ok()) done(queued);
}

absl::Status EditIntake::CheckRoom(int64_t bytes) const {
  if (bytes == 0) return absl::OkStatus();
  AMEND_RETURN_IF_ERROR(CheckMemoryIsLeft());
  const int64_t waiting = bytes_in_ + queue_out_->bytes();
  if (waiting + bytes <= options_.max_pending_bytes) return absl::OkStatus();
  return WithRetryDelay(
      WithReason(absl::ResourceExhaustedError(absl::StrCat(
                     "batches that wait have ", waiting, " bytes of edits, this one ", bytes,
                     ", all together at most ", options_.max_pending_bytes, " may be")),
                 "QUEUE_FULL"),
      options_.retry_delay);
}

absl::Status EditIntake::Queue(Arrival arrival) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return Draining();
  if (static_cast<int>(queue_in_.size()) >= options_.max_queued) {
    return WithRetryDelay(WithReason(absl::ResourceExhaustedError(absl::StrCat(
                                         queue_in_.size(), " batches wait to be taken, at most ",
                                         options_.max_queued, " may")),
                                     "QUEUE_FULL"),
                          options_.retry_delay);
  }
  AMEND_RETURN_IF_ERROR(CheckRoom(arrival.bytes));
  bytes_in_ += arrival.bytes;
  queue_in_.push_back(std::move(arrival));
  return absl::OkStatus();
}

void EditIntake::Run() {
  while (true) {
    Arrival arrival;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &EditIntake::Ready));
      if (stopping_) return;
      arrival = std::move(queue_in_.front());
      queue_in_.pop_front();
    }
    const absl::Status taken = CatchOutOfMemory("taking a batch", [&] {
      arrival.take();
      return absl::OkStatus();
    });
    if (!taken.ok()) arrival.turn_down(taken);
    absl::MutexLock lock(&mutex_);
    bytes_in_ -= arrival.bytes;
  }
}

void EditIntake::Take(const BatchSubmission& submission) {
  const BatchKey& key = submission.key;
  const absl::StatusOr<int64_t> next = store_->NextOffset(key.session);
  if (!next.ok()) return TurnDown(submission, FromStore(next.status()));
  if (key.offset < *next) return Replay(submission);
  if (key.offset > *next) {
    return TurnDown(
        submission,
        WithReason(absl::OutOfRangeError(
                       absl::StrCat(NameOf(key), " leaves a gap: the next offset is ", *next)),
                   "OFFSET_GAP",
                   {{"offset", absl::StrCat(key.offset)}, {"next_offset", absl::StrCat(*next)}}));
  }
  const std::vector<BatchViolation> violations =
      CheckBatch(submission.edits, options_.max_batch_edits, check_edits_);
  if (!violations.empty()) return TakeMalformed(submission, violations);
  TakeNew(submission);
}

void EditIntake::TakeCancel(CancelCommand command, CancelCallback done) {
  const absl::StatusOr<LedgerEntry> entry = store_->GetLedger(command.key);
  if (absl::IsNotFound(entry.status())) return done(BatchNotFound(command.key, entry.status()));
  if (!entry.ok()) return done(FromStore(entry.status()));
  if (IsTerminal(entry->state)) return done(BatchConcluded(*entry));
  queue_out_->Cancel(std::move(command), std::move(done));
}

void EditIntake::Replay(const BatchSubmission& submission) {
  const absl::StatusOr<LedgerEntry> entry = store_->GetLedger(submission.key);
  if (!entry.ok()) return TurnDown(submission, FromStore(entry.status()));
  if (entry->edits != submission.edits) {
    return TurnDown(
        submission,
        WithReason(absl::AlreadyExistsError(absl::StrCat(
                       NameOf(submission.key), " is taken by a batch of ", entry->edits.size(),
                       " edits, which differ from the ", submission.edits.size(), " sent now")),
                   "OFFSET_CONFLICT", {{"offset", absl::StrCat(submission.key.offset)}}));
  }
  v1::EditBatchStatus status = StatusOf(*entry);
  status.set_replayed(true);
  submission.listener.Notify(status);
  if (IsTerminal(entry->state)) return;
  const absl::Status attached = hub_->Attach(submission.key, submission.listener);
  if (!attached.ok()) return TurnDown(submission, attached);
  // It may have come to its end between the two: then nobody else would say so.
  const absl::StatusOr<LedgerEntry> again = store_->GetLedger(submission.key);
  if (!again.ok() || !IsTerminal(again->state)) return;
  status = StatusOf(*again);
  status.set_replayed(true);
  submission.listener.Notify(status);
}

void EditIntake::TakeMalformed(const BatchSubmission& submission,
                               const std::vector<BatchViolation>& violations) {
  const absl::Status error = BatchError(violations, CountOf(submission));
  LedgerEntry entry = EntryOf(submission);
  entry.state = BatchState::kFailed;
  for (const BatchViolation& violation : violations) {
    if (violation.index < 0) continue;
    EditVerdict verdict;
    verdict.index = violation.index;
    verdict.violation_field = violation.field;
    verdict.violation_description = violation.description;
    entry.verdicts.push_back(std::move(verdict));
  }
  entry.error_code = error.code();
  entry.error_message = std::string(error.message());
  entry.error_reason = ReasonOf(error);
  entry.receive_time_us = entry.finish_time_us = absl::ToUnixMicros(options_.clock());
  v1::EditBatchStatus status = StatusOf(entry);
  *status.mutable_error() = ToRpcStatus(error);
  if (submission.record_malformed) {
    const absl::StatusOr<int64_t> sequence = Append(submission, entry);
    if (!sequence.ok()) return TurnDown(submission, FromStore(sequence.status()));
    observer_->BatchFinished(BatchOutcome::kFailed, CountOf(submission));
  } else {
    status.set_stage(v1::BATCH_STAGE_UNSPECIFIED);
  }
  submission.listener.Notify(status);
}

void EditIntake::TakeNew(const BatchSubmission& submission) {
  const int depth = queue_out_->depth();
  if (depth >= options_.max_pending_batches) {
    return TurnDown(submission,
                    WithRetryDelay(WithReason(absl::ResourceExhaustedError(absl::StrCat(
                                                  depth, " batches wait to be solved, at most ",
                                                  options_.max_pending_batches, " may")),
                                              "QUEUE_FULL"),
                                   options_.retry_delay));
  }
  const int count = CountOf(submission);
  submission.listener.Notify(StatusAt(submission.key, count, v1::ACCEPTED));
  // Before the append, so that nothing of a batch that is in the ledger is missed.
  const absl::Status attached = hub_->Attach(submission.key, submission.listener);
  if (!attached.ok()) return TurnDown(submission, attached);
  LedgerEntry entry = EntryOf(submission);
  entry.receive_time_us = absl::ToUnixMicros(options_.clock());
  const absl::StatusOr<int64_t> sequence = Append(submission, entry);
  if (!sequence.ok()) {
    hub_->DetachAll(submission.key);
    return TurnDown(submission, FromStore(sequence.status()));
  }
  entry.sequence = *sequence;
  submission.listener.Notify(StatusAt(submission.key, count, v1::DURABLE));
  queue_out_->Enqueue(std::move(entry));
}

absl::StatusOr<int64_t> EditIntake::Append(const BatchSubmission& submission,
                                           const LedgerEntry& entry) {
  if (options_.traces != nullptr) options_.traces->Remember(entry.key, submission.trace_id);
  absl::StatusOr<int64_t> sequence = store_->AppendLedger(entry);
  if (!sequence.ok() && options_.traces != nullptr) options_.traces->Forget(entry.key);
  return sequence;
}

void EditIntake::TurnDown(const BatchSubmission& submission, const absl::Status& error) {
  submission.listener.Notify(NotTaken(submission.key, CountOf(submission), error));
}

}  // namespace amend
