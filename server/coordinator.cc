#include "server/coordinator.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/errors.h"
#include "server/out_of_memory.h"
#include "server/proto_conversion.h"
#include "server/revision_line.h"

namespace amend {

struct Coordinator::Work {
  const LedgerEntry& entry;
  // Verbs wait until the batch has come to its end.
  const bool last_try;
  // Where the label "live" stood when this attempt began.
  LabelRecord live;
  Revision parent;
  Revision candidate;
  int64_t parent_line_edits = 0;
  std::shared_ptr<const Snapshot> before;
  Candidate made;
  // Of its hooks.
  std::vector<LayerNorm> norms;
  // Set where a client ended the batch.
  std::optional<CancelCommand> cancel;

  bool promotes() const { return entry.promotion == PromotionPolicy::kWhenValidated; }
  int edit_count() const { return static_cast<int>(entry.edits.size()); }
  // Edits of the revision: those that were not dropped, or all of a batch that is rejected.
  int made_count() const { return made.gate.accepted ? made.edit_count : edit_count(); }
};

namespace {

constexpr char kCoordinatorActor[] = "coordinator";
constexpr char kCancelledByClient[] = "CANCELLED_BY_CLIENT";

absl::Status Draining() {
  return WithReason(absl::UnavailableError("the server is shutting down"), "DRAINING");
}

absl::Status TooMany(int waiting, int most) {
  return WithRetryDelay(WithReason(absl::ResourceExhaustedError(absl::StrCat(
                                       waiting, " verbs wait, at most ", most, " may")),
                                   "QUEUE_FULL"),
                        absl::Seconds(1));
}

// The reason that clients see for a batch that could not be solved.
std::string FailureReason(const absl::Status& status) {
  if (!ReasonOf(status).empty()) return ReasonOf(status);
  if (absl::IsAborted(status)) return "EDIT_DIVERGED";
  if (absl::IsInvalidArgument(status)) return "EDIT_INVALID";
  if (absl::IsDataLoss(status)) return "DIGEST_MISMATCH";
  return "SOLVE_FAILED";
}

// A batch that came to its end without a revision.
LedgerEntry Failed(LedgerEntry entry, const absl::Status& status, absl::Time now) {
  entry.state = BatchState::kFailed;
  entry.error_code = status.code();
  entry.error_message = std::string(status.message());
  entry.error_reason = FailureReason(status);
  entry.finish_time_us = absl::ToUnixMicros(now);
  return entry;
}

AuditRecord AuditOfCancel(const CancelCommand& command, int64_t now_us) {
  std::string what =
      absl::StrCat("session \"", command.key.session, "\" offset ", command.key.offset);
  if (!command.reason.empty()) absl::StrAppend(&what, ": ", command.reason);
  return AuditRecord{command.actor, "cancel", "", kBaseRevision, kBaseRevision, what, now_us};
}

}  // namespace

Coordinator::Coordinator(RevisionStore* store, EditEngine* engine, ServingModel* serving,
                         EditEventHub* hub, RevisionEventHub* changes, EditObserver* observer,
                         Options options)
    : store_(store),
      engine_(engine),
      serving_(serving),
      hub_(hub),
      changes_(changes),
      observer_(observer),
      options_(std::move(options)),
      label_mover_(store, serving, changes, observer, options_.clock),
      keeper_(store, serving, changes, options_.retention, options_.clock),
      solver_(store, engine, hub, observer, options_.clock),
      withdrawer_(store, engine, serving, changes, observer,
                  {options_.withdrawal_thresholds, options_.clock,
                   [this](bool verbs_wait, std::function<void()> task) {
                     RunAside(verbs_wait, std::move(task));
                   },
                   options_.max_solves}),
      solver_thread_(TaskExecutor::Options()) {}

Coordinator::~Coordinator() { Stop(); }

absl::StatusOr<RecoveryReport> Coordinator::Recover() {
  AMEND_ASSIGN_OR_RETURN(RecoveryReport report, RecoverServing(*store_, *engine_, *serving_,
                                                               options_.serve_intact_ancestor));
  AMEND_ASSIGN_OR_RETURN(const std::vector<LabelRecord> labels, store_->ListLabels());
  changes_->SetState(labels, store_->LatestRevision());
  observer_->LiveRevisionChanged(report.served);
  if (report.served != kBaseRevision) {
    // Computed when the revision was made; anew it would cost as much as the whole line.
    AMEND_ASSIGN_OR_RETURN(const RevisionRecord live, store_->GetRevision(report.served));
    for (const LayerNorm& norm : live.norms) {
      observer_->UpdateNormRatio(norm.layer, norm.update_norm_ratio);
    }
  }
  if (!report.damage.ok()) {
    // An edit would be built on a past that the store does not have. What is durable waits.
    store_->Freeze(absl::UnavailableError(
        absl::StrCat("it is damaged and takes no writes: ", report.damage.message(), "; revision ",
                     report.served.value(), " serves in its place")));
    report.pending.clear();
  }
  for (LedgerEntry& entry : report.pending) Enqueue(std::move(entry));
  report.pending.clear();
  return report;
}

void Coordinator::Start() {
  if (options_.on_solver_thread_start) {
    // The first task of an executor that was just made.
    solver_thread_.Submit(options_.on_solver_thread_start).IgnoreError();
  }
  thread_ = std::thread([this] { Run(); });
}

void Coordinator::Stop() {
  std::deque<Command> left;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    left.swap(commands_);
    left.insert(left.end(), std::make_move_iterator(jobs_.begin()),
                std::make_move_iterator(jobs_.end()));
    jobs_.clear();
  }
  if (thread_.joinable()) thread_.join();
  solver_thread_.Stop();
  for (const Command& command : left) command.refuse(Draining());
  for (const BatchCancels::Cancel& cancel : cancels_.TakeOthers(std::nullopt)) {
    cancel.done(Draining());
  }
  changes_->Close(Draining());
}

void Coordinator::Enqueue(LedgerEntry entry) {
  {
    absl::MutexLock lock(&mutex_);
    batch_bytes_ += TextBytes(entry.edits);
    batches_.push_back(std::make_shared<const LedgerEntry>(std::move(entry)));
  }
  ReportQueue();
}

void Coordinator::Cancel(CancelCommand command, CancelCallback done) {
  absl::Status refused;
  {
    // Whoever waits for work is woken by this lock, not by that of the cancels.
    absl::MutexLock lock(&mutex_);
    if (!stopping_ && cancels_.size() < options_.max_commands) {
      cancels_.Add({std::move(command), std::move(done)});
      return;
    }
    refused = stopping_ ? Draining() : TooMany(cancels_.size(), options_.max_commands);
  }
  done(std::move(refused));
}

int Coordinator::depth() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(batches_.size());
}

int64_t Coordinator::bytes() const {
  absl::MutexLock lock(&mutex_);
  return batch_bytes_;
}

std::optional<int64_t> Coordinator::FirstPendingOffset(absl::string_view session) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& entry : batches_) {
    // Arrival order is offset order within a session.
    if (entry->key.session == session) return entry->key.offset;
  }
  return std::nullopt;
}

bool Coordinator::store_read_only() const {
  absl::MutexLock lock(&mutex_);
  return read_only_;
}

void Coordinator::Promote(PromoteCommand command, LabelCallback done) {
  Queue<LabelMoved>(
      Turn::kAnyTime,
      [this, command = std::move(command)] { return label_mover_.Promote(command); },
      std::move(done));
}

void Coordinator::Rollback(RollbackCommand command, LabelCallback done) {
  Queue<LabelMoved>(
      Turn::kAnyTime,
      [this, command = std::move(command)] { return label_mover_.Rollback(command); },
      std::move(done));
}

void Coordinator::SetLabel(SetLabelCommand command, LabelCallback done) {
  Queue<LabelMoved>(
      Turn::kAnyTime, [this, command = std::move(command)] { return label_mover_.Set(command); },
      std::move(done));
}

void Coordinator::DeleteLabel(DeleteLabelCommand command, Callback<LabelRecord> done) {
  Queue<LabelRecord>(
      Turn::kAnyTime, [this, command = std::move(command)] { return label_mover_.Delete(command); },
      std::move(done));
}

void Coordinator::Mark(MarkCommand command, Callback<RevisionRecord> done) {
  Queue<RevisionRecord>(
      Turn::kAnyTime, [this, command = std::move(command)] { return keeper_.Mark(command); },
      std::move(done));
}

void Coordinator::Purge(PurgeCommand command, Callback<Purged> done) {
  Queue<Purged>(
      Turn::kAnyTime,
      [this, command = std::move(command)] {
        absl::StatusOr<Purged> purged = keeper_.Purge(command);
        if (!command.dry_run) ReportPurged(purged);
        return purged;
      },
      std::move(done));
}

void Coordinator::Withdraw(WithdrawCommand command, Callback<EditsWithdrawn> done) {
  Queue<EditsWithdrawn>(
      Turn::kBetweenBatches,
      [this, command = std::move(command)] { return withdrawer_.Withdraw(command); },
      std::move(done));
}

void Coordinator::Validate(ValidateCommand command, Callback<Validation> done) {
  Queue<Validation>(
      Turn::kBetweenBatches,
      [this, command = std::move(command)] {
        absl::StatusOr<Validation> validation;
        RunAside(/*verbs_wait=*/false, [&] {
          validation = ResultOrOutOfMemory("validating a revision", [&] {
            return ValidateAgain(*store_, *serving_, *engine_, command);
          });
        });
        // Errors of the store have reasons already.
        if (!validation.ok()) validation = FromMemory(validation.status());
        return validation;
      },
      std::move(done));
}

absl::Status Coordinator::SetPolicies(const GateThresholds& withdrawal_thresholds,
                                      const RetentionPolicy& retention) {
  Command set{[=] {
                withdrawer_.SetThresholds(withdrawal_thresholds);
                keeper_.SetPolicy(retention);
                next_sweep_ = absl::InfinitePast();
              },
              [](const absl::Status&) {}};
  return TryQueue(Turn::kAnyTime, set);
}

template <typename Result>
void Coordinator::Queue(Turn turn, std::function<absl::StatusOr<Result>()> run,
                        Callback<Result> done) {
  QueueCommand(turn,
               {[run = std::move(run), done] { done(ResultOrOutOfMemory("running a verb", run)); },
                [done](const absl::Status& why) { done(why); }});
}

void Coordinator::QueueCommand(Turn turn, Command command) {
  const absl::Status queued = TryQueue(turn, command);
  if (!queued.ok()) command.refuse(queued);
}

absl::Status Coordinator::TryQueue(Turn turn, Command& command) {
  absl::MutexLock lock(&mutex_);
  std::deque<Command>& queue = turn == Turn::kAnyTime ? commands_ : jobs_;
  if (stopping_) return Draining();
  if (static_cast<int>(queue.size()) >= options_.max_commands) {
    return TooMany(static_cast<int>(queue.size()), options_.max_commands);
  }
  queue.push_back(std::move(command));
  return absl::OkStatus();
}

void Coordinator::RunCommands() {
  while (true) {
    Command command;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_ || commands_.empty()) return;
      command = std::move(commands_.front());
      commands_.pop_front();
    }
    command.run();
  }
}

void Coordinator::RunAside(bool verbs_wait, std::function<void()> task) {
  {
    absl::MutexLock lock(&mutex_);
    aside_ = true;
  }
  const auto run = [this, &task] {
    task();
    absl::MutexLock lock(&mutex_);
    aside_ = false;
  };
  // Never refused: only this thread submits, and Stop waits for it first.
  if (!solver_thread_.Submit(run).ok()) run();
  const auto has_turn = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !aside_ || (!verbs_wait && !commands_.empty()) || cancels_.HasOthers(at_work_);
  };
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&has_turn));
      if (!aside_) return;
    }
    if (!verbs_wait) RunCommands();
    RunCancels();
  }
}

void Coordinator::RunCancels() {
  std::optional<BatchKey> at_work;
  {
    absl::MutexLock lock(&mutex_);
    at_work = at_work_;
  }
  for (const BatchCancels::Cancel& cancel : cancels_.TakeOthers(at_work)) {
    cancel.done(CancelWaiting(cancel.command));
  }
}

absl::StatusOr<LedgerEntry> Coordinator::CancelWaiting(const CancelCommand& command) {
  absl::StatusOr<LedgerEntry> entry = store_->GetLedger(command.key);
  if (!entry.ok()) return FromStore(entry.status());
  if (IsTerminal(entry->state)) return BatchConcluded(*entry);
  StoreStep step;
  step.ledger = Failed(*std::move(entry), CancelledByClient(command), options_.clock());
  step.audit = AuditOfCancel(command, step.ledger->finish_time_us);
  const absl::Status committed = store_->Commit(step);
  if (!committed.ok()) return FromStore(committed);
  observer_->BatchFinished(BatchOutcome::kCancelled, static_cast<int>(step.ledger->edits.size()));
  Finish(command.key);
  hub_->Publish(StatusOf(*step.ledger));
  return *step.ledger;
}

bool Coordinator::stopping() const {
  absl::MutexLock lock(&mutex_);
  return stopping_;
}

bool Coordinator::WaitForStore() {
  const absl::Time deadline = absl::Now() + options_.store_retry_delay;
  while (true) {
    bool command_waits;
    {
      absl::MutexLock lock(&mutex_);
      command_waits =
          mutex_.AwaitWithDeadline(absl::Condition(this, &Coordinator::HasCommand), deadline);
      if (stopping_) return false;
    }
    // They are told that nothing can be written.
    RunCancels();
    if (!command_waits) return true;
    RunCommands();
  }
}

void Coordinator::SetReadOnly(bool read_only) {
  absl::MutexLock lock(&mutex_);
  read_only_ = read_only;
}

void Coordinator::Finish(const BatchKey& key) {
  {
    absl::MutexLock lock(&mutex_);
    const auto found = std::find_if(batches_.begin(), batches_.end(),
                                    [&](const auto& entry) { return entry->key == key; });
    if (found != batches_.end()) {
      batch_bytes_ -= TextBytes((*found)->edits);
      batches_.erase(found);
    }
    if (at_work_ == key) at_work_.reset();
  }
  ReportQueue();
}

void Coordinator::AnswerCancels(const BatchKey& key, const absl::StatusOr<LedgerEntry>& outcome) {
  for (const BatchCancels::Cancel& cancel : cancels_.Take(key)) {
    const bool other = outcome.ok() && outcome->error_reason != kCancelledByClient;
    cancel.done(other ? BatchConcluded(*outcome) : outcome);
  }
}

void Coordinator::ReportQueue() {
  int depth;
  absl::Time oldest = absl::InfinitePast();
  {
    absl::MutexLock lock(&mutex_);
    depth = static_cast<int>(batches_.size());
    if (depth > 0) oldest = absl::FromUnixMicros(batches_.front()->receive_time_us);
  }
  observer_->QueueChanged(depth, oldest);
}

void Coordinator::Run() {
  if (options_.on_thread_start) options_.on_thread_start();
  while (true) {
    Sweep();
    // At most one of each in a turn: neither holds up the other for long.
    std::optional<Command> job;
    std::shared_ptr<const LedgerEntry> entry;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithDeadline(absl::Condition(this, &Coordinator::HasWork), next_sweep_);
      if (stopping_) return;
      if (commands_.empty() && !jobs_.empty()) {
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      if (commands_.empty() && cancels_.size() == 0 && !batches_.empty()) {
        entry = batches_.front();
        at_work_ = entry->key;
      }
    }
    RunCommands();
    RunCancels();
    if (job) job->run();
    if (entry != nullptr && !Process(*entry)) return;
  }
}

void Coordinator::Sweep() {
  if (absl::Now() < next_sweep_) return;
  next_sweep_ = absl::Now() + options_.sweep_interval;
  const absl::StatusOr<Purged> purged = keeper_.Sweep();
  // An error is one of the store, which the next sweep may find well again.
  if (purged.ok() && purged->more) next_sweep_ = absl::InfinitePast();
  ReportPurged(purged);
}

void Coordinator::ReportPurged(const absl::StatusOr<Purged>& purged) const {
  if (purged.ok() && !purged->revisions.empty() && options_.on_purged) options_.on_purged();
}

bool Coordinator::Process(const LedgerEntry& entry) {
  int tries = 1;
  while (true) {
    switch (TryBatch(entry, tries >= options_.max_solves)) {
      case Attempt::kFinished:
        return true;
      case Attempt::kParentChanged:
        ++tries;
        break;
      case Attempt::kStoreTrouble:
        SetReadOnly(true);
        if (!WaitForStore()) return false;
        break;
      case Attempt::kStopped:
        return false;
    }
  }
}

Coordinator::Attempt Coordinator::TryBatch(const LedgerEntry& entry, bool last_try) {
  Work work{entry, last_try, {}, {}, {}, 0, nullptr, {}, {}, {}};
  for (const auto step : {&Coordinator::FindParent, &Coordinator::Solve}) {
    const absl::Status status = (this->*step)(work);
    if (!status.ok()) return AfterError(work, status);
  }
  if (!last_try) RunCommands();
  if (cancels_.Find(entry.key).has_value()) return AfterError(work, absl::CancelledError());
  if (ParentChangedUnder(work)) return Attempt::kParentChanged;
  return Conclude(work);
}

Coordinator::Attempt Coordinator::AfterError(Work& work, const absl::Status& status) {
  if (stopping()) return Attempt::kStopped;
  if (const auto command = cancels_.Find(work.entry.key)) {
    work.cancel = *command;
    return Fail(work, CancelledByClient(*command));
  }
  if (absl::IsCancelled(status) && ParentChangedUnder(work)) return Attempt::kParentChanged;
  if (IsStoreTrouble(status)) return Attempt::kStoreTrouble;
  return Fail(work, status);
}

absl::Status Coordinator::FindParent(Work& work) {
  AMEND_ASSIGN_OR_RETURN(work.live, store_->GetLabel(kLiveLabel));
  AMEND_ASSIGN_OR_RETURN(work.parent, ChooseParent(*store_, work.entry, work.live.revision));
  // After a start this is the whole line.
  absl::Status prepared;
  RunAside(work.last_try, [&] {
    prepared = CatchOutOfMemory("reading the line of a batch", [&] {
      return PrepareLine(*store_, *engine_, work.parent,
                         [&] { return !stopping() && !ParentChangedUnder(work); });
    });
  });
  AMEND_RETURN_IF_ERROR(prepared);
  AMEND_ASSIGN_OR_RETURN(work.before, serving_->Resolve(work.parent));
  if (work.parent != kBaseRevision) {
    AMEND_ASSIGN_OR_RETURN(const RevisionRecord record, store_->GetRevision(work.parent));
    work.parent_line_edits = record.line_edit_count;
  }
  work.candidate = store_->LatestRevision().Next();
  return absl::OkStatus();
}

absl::Status Coordinator::Solve(Work& work) {
  const auto stop = [&] {
    return stopping() || cancels_.Find(work.entry.key).has_value() || ParentChangedUnder(work);
  };
  absl::StatusOr<Candidate> made;
  RunAside(work.last_try,
           [&] { made = solver_.Solve(work.entry, work.candidate, work.before->hooks, stop); });
  AMEND_ASSIGN_OR_RETURN(work.made, std::move(made));
  return absl::OkStatus();
}

bool Coordinator::ParentChangedUnder(const Work& work) const {
  // What was staged keeps its parent, wherever the label goes, as long as that is there.
  if (!work.promotes()) return !serving_->Resolve(work.parent).ok();
  const absl::StatusOr<LabelRecord> live = store_->GetLabel(kLiveLabel);
  return live.ok() && live->generation != work.live.generation;
}

Coordinator::Attempt Coordinator::Conclude(Work& work) {
  const GateResult& gate = work.made.gate;
  const bool accepted = gate.accepted;
  const int64_t now = absl::ToUnixMicros(options_.clock());
  StoreStep step;
  step.revision.emplace();
  step.revision->revision = work.candidate;
  step.revision->parent = work.parent;
  step.revision->state = accepted ? RevisionState::kValidated : RevisionState::kRejected;
  step.revision->batch = work.entry.key;
  step.revision->edit_count = work.made_count();
  step.revision->line_edit_count = work.parent_line_edits + work.made_count();
  step.revision->gate = gate.verdict;
  work.norms = engine_->UpdateNorms(work.made.hooks);
  step.revision->norms = work.norms;
  step.revision->create_time_us = now;
  step.revision->actor = work.entry.actor;
  if (accepted) step.factors = work.made.solution.factors;
  step.ledger = work.entry;
  step.ledger->state = !accepted         ? BatchState::kRejected
                       : work.promotes() ? BatchState::kLive
                                         : BatchState::kValidated;
  step.ledger->revision = work.candidate;
  step.ledger->verdicts = gate.edits;
  step.ledger->gate = gate.verdict;
  step.ledger->finish_time_us = now;
  step.audit = AuditRecord{
      work.entry.actor.empty() ? std::string(kCoordinatorActor) : work.entry.actor,
      accepted ? "validate" : "reject",
      std::string(kLiveLabel),
      work.live.revision,
      work.candidate,
      absl::StrCat("session \"", work.entry.key.session, "\" offset ", work.entry.key.offset),
      now};
  if (step.ledger->state == BatchState::kLive) {
    step.label = LabelMove{std::string(kLiveLabel), work.candidate, work.live.generation};
    step.audit->verb = "promote";
  }
  const absl::Time start = options_.clock();
  const absl::Status committed = Commit(step);
  if (absl::IsCancelled(committed)) return Attempt::kStopped;
  if (absl::IsAborted(committed)) return Attempt::kParentChanged;
  if (!committed.ok()) return Fail(work, committed);
  observer_->StageDone(EditStage::kPersist, options_.clock() - start);
  ReportGate(gate, observer_);
  PublishCandidate(work, *step.revision, *step.ledger);
  return Attempt::kFinished;
}

void Coordinator::PublishCandidate(const Work& work, const RevisionRecord& record,
                                   const LedgerEntry& finished) {
  const absl::Time start = options_.clock();
  BatchOutcome outcome = BatchOutcome::kRejected;
  if (finished.state != BatchState::kRejected) {
    outcome = BatchOutcome::kValidated;
    serving_->AddRevision(
        std::make_shared<const Snapshot>(Snapshot{work.candidate, work.made.hooks}));
  }
  changes_->Publish(
      RevisionChangedEvent(v1::WatchRevisionsResponse::RevisionChanged::CREATED, record));
  if (finished.state == BatchState::kLive) {
    outcome = BatchOutcome::kLive;
    // It was added just now.
    serving_->MoveLabel(kLiveLabel, work.candidate).IgnoreError();
    changes_->Publish(LabelMovedEvent(
        {std::string(kLiveLabel), work.candidate, work.live.generation + 1}, work.live.revision));
    observer_->Promoted(PromotionResult::kMoved);
    observer_->LiveRevisionChanged(work.candidate);
    for (const LayerNorm& norm : work.norms) {
      observer_->UpdateNormRatio(norm.layer, norm.update_norm_ratio);
    }
    observer_->EditTimeToLive(options_.clock() - absl::FromUnixMicros(work.entry.receive_time_us));
  }
  observer_->StageDone(EditStage::kPublish, options_.clock() - start);
  if (finished.state != BatchState::kRejected) {
    RunAside(/*verbs_wait=*/false, [&] {
      // Where this fails the line begins anew with the next batch.
      const absl::Status appended = CatchOutOfMemory("appending to the line", [&] {
        return engine_->AppendToLine(work.candidate, work.made.solution.factors);
      });
      if (!appended.ok()) engine_->ResetLine();
    });
  }
  observer_->BatchFinished(outcome, work.made_count());
  observer_->EditsDropped(work.edit_count() - work.made_count());
  Finish(work.entry.key);
  hub_->Publish(StatusOf(finished));
  AnswerCancels(work.entry.key, finished);
}

Coordinator::Attempt Coordinator::Fail(const Work& work, const absl::Status& status) {
  StoreStep step;
  step.ledger = Failed(work.entry, status, options_.clock());
  if (work.cancel) step.audit = AuditOfCancel(*work.cancel, step.ledger->finish_time_us);
  const absl::Status committed = Commit(step);
  if (absl::IsCancelled(committed)) return Attempt::kStopped;
  observer_->BatchFinished(work.cancel ? BatchOutcome::kCancelled : BatchOutcome::kFailed,
                           work.edit_count());
  Finish(work.entry.key);
  // A verdict that the store refuses is not kept: the batch stays durable and is solved at the next
  // start.
  hub_->Publish(committed.ok() ? StatusOf(*step.ledger)
                               : NotTaken(work.entry.key, work.edit_count(), FromStore(committed)));
  if (committed.ok()) {
    AnswerCancels(work.entry.key, *step.ledger);
  } else {
    AnswerCancels(work.entry.key, FromStore(committed));
  }
  return Attempt::kFinished;
}

absl::Status Coordinator::Commit(const StoreStep& step) {
  while (true) {
    const absl::Status status = store_->Commit(step);
    if (!IsStoreTrouble(status)) {
      SetReadOnly(false);
      return status;
    }
    SetReadOnly(true);
    if (!WaitForStore()) return absl::CancelledError("the server is shutting down");
  }
}

}  // namespace amend
