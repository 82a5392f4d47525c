#include "server/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/generation/text_stream.h"
#include "server/errors.h"
#include "server/out_of_memory.h"

namespace amend {
namespace {

constexpr absl::Duration kRetryDelay = absl::Seconds(1);

absl::Status DrainingError() {
  return WithRetryDelay(
      WithReason(absl::UnavailableError("the server is draining and takes no new requests"),
                 "DRAINING"),
      kRetryDelay);
}

absl::string_view ReasonName(const absl::Status& status, EndReason reason) {
  if (status.code() == absl::StatusCode::kCancelled) return "cancelled";
  if (status.code() == absl::StatusCode::kDeadlineExceeded) return "deadline";
  if (status.code() == absl::StatusCode::kAborted) return "stalled";
  if (!status.ok()) return "error";
  switch (reason) {
    case EndReason::kLength:
      return "length";
    case EndReason::kStop:
      return "stop";
    case EndReason::kEndOfText:
      return "end_of_text";
    case EndReason::kContextFull:
      return "context_full";
  }
  return "error";
}

int64_t BytesOf(const GenerationJob& job) {
  // A sequence has the prompt a second time.
  return job.request_bytes + 2 * static_cast<int64_t>(job.prompt.size() * sizeof(TokenId));
}

int64_t BytesOf(const ScoreJob& job) {
  int64_t bytes = job.request_bytes;
  for (const ScoreItem& item : job.items) {
    bytes += static_cast<int64_t>(sizeof(item) + (item.prompt.size() + item.continuation.size()) *
                                                     sizeof(TokenId));
  }
  return bytes;
}

// Moves `sequence` to its place by Submit; where there is no memory for that it stays.
template <typename SequencePtr, typename Sequences>
void InsertInOrder(SequencePtr& sequence, Sequences* into) {
  const auto before = [](const auto& a, const auto& b) { return a->number < b->number; };
  const auto place = std::upper_bound(into->begin(), into->end(), sequence, before);
  *into->emplace(place) = std::move(sequence);
}

}  // namespace

struct Scheduler::Sequence {
  explicit Sequence(GenerationJob j)
      : job(std::move(j)),
        bytes(BytesOf(job)),
        sampler(job.sampling),
        text(job.stop),
        tokens(job.prompt) {}

  GenerationJob job;
  // While it waits to begin.
  const int64_t bytes;
  // By Submit.
  int64_t number = 0;
  Sampler sampler;
  TextStream text;
  // Null while it waits.
  std::unique_ptr<DecodeSequence> state;
  // Prompt and generated tokens; the first `fed` of them are in the cache.
  std::vector<TokenId> tokens;
  size_t fed = 0;
  // Those that it had when it was admitted.
  size_t admitted_tokens = 0;
  // Of these what fired was taken.
  size_t traced_tokens = 0;
  int cached_tokens = 0;
  int partly_cached_tokens = 0;
  // How many tokens the current step feeds.
  size_t step_tokens = 0;
  int generated = 0;
  // Tokens that no event carried yet.
  TokenEvent pending;
  bool ended = false;
  absl::Time submit_time;
  absl::Time admit_time = absl::InfiniteFuture();
  absl::Time last_token_time;
  // Since when its reader has no room; for ever in the future while it has.
  absl::Time paused_since = absl::InfiniteFuture();
  absl::Duration time_to_first_token;

  // Of one that waits: it was preempted.
  bool begun() const { return admit_time != absl::InfiniteFuture(); }
  bool prefilling() const { return fed < admitted_tokens; }
  bool paused() const { return paused_since != absl::InfiniteFuture(); }
};

struct Scheduler::ScoreRun {
  explicit ScoreRun(ScoreJob j) : job(std::move(j)), bytes(BytesOf(job)) {}

  ScoreJob job;
  // While it waits.
  const int64_t bytes;
  std::vector<ScoredContinuation> done;
  absl::Time submit_time;
};

Scheduler::Scheduler(DecodeBackend* backend, Options options)
    : backend_(backend),
      options_(std::move(options)),
      max_running_(options_.max_running_sequences),
      max_waiting_(options_.max_waiting_sequences),
      thread_([this] { Loop(); }) {}

Scheduler::~Scheduler() { Stop(absl::ZeroDuration()); }

void Scheduler::SetLimits(int max_running_sequences, int max_waiting_sequences) {
  absl::MutexLock lock(&mutex_);
  max_running_ = max_running_sequences;
  max_waiting_ = max_waiting_sequences;
  awake_ = true;
}

absl::Status Scheduler::CheckAdmission(int64_t bytes) {
  if (draining_) return DrainingError();
  size_t waiting = waiting_scores_.size();
  int64_t taken = 0;
  for (const auto& sequence : waiting_) {
    if (sequence->begun()) continue;
    ++waiting;
    taken += sequence->bytes;
  }
  for (const auto& run : waiting_scores_) taken += run->bytes;
  if (waiting >= max_waiting_) {
    return WithRetryDelay(WithReason(absl::ResourceExhaustedError(absl::StrCat(
                                         "the generation queue is full: ", waiting,
                                         " requests wait, the limit is ", max_waiting_)),
                                     "QUEUE_FULL", {{"limit", absl::StrCat(max_waiting_)}}),
                          kRetryDelay);
  }
  if (taken + bytes > options_.max_waiting_bytes) {
    return WithRetryDelay(
        WithReason(absl::ResourceExhaustedError(absl::StrCat(
                       "the generation queue is full: requests that wait take ", taken,
                       " bytes, this one ", bytes, ", the limit is ", options_.max_waiting_bytes)),
                   "QUEUE_FULL", {{"limit", absl::StrCat(options_.max_waiting_bytes)}}),
        kRetryDelay);
  }
  return absl::OkStatus();
}

int64_t Scheduler::CacheTokens(const GenerationJob& job) const {
  // The last token that is generated is never fed.
  return std::min<int64_t>(static_cast<int64_t>(job.prompt.size()) + job.max_new_tokens - 1,
                           options_.context_length);
}

absl::Status Scheduler::CheckFits(const GenerationJob& job) const {
  const int64_t tokens = CacheTokens(job);
  const int64_t capacity = backend_->cache_capacity();
  if (tokens <= capacity) return absl::OkStatus();
  return WithReason(
      absl::ResourceExhaustedError(absl::StrCat(
          "a prompt of ", job.prompt.size(), " tokens and ", job.max_new_tokens,
          " new ones need room for ", tokens, " in the KV cache, which holds ", capacity)),
      "KV_CACHE_TOO_SMALL",
      {{"tokens", absl::StrCat(tokens)}, {"kv_cache_tokens", absl::StrCat(capacity)}});
}

absl::Status Scheduler::Submit(GenerationJob job) {
  absl::Status admission = CheckFits(job);
  if (admission.ok()) {
    admission = CatchOutOfMemory("queueing a request", [&]() -> absl::Status {
      auto sequence = std::make_unique<Sequence>(std::move(job));
      sequence->submit_time = options_.clock();
      absl::MutexLock lock(&mutex_);
      AMEND_RETURN_IF_ERROR(CheckAdmission(sequence->bytes));
      sequence->number = ++submitted_;
      waiting_.push_back(std::move(sequence));
      awake_ = true;
      return absl::OkStatus();
    });
  }
  if (!admission.ok() && options_.observer != nullptr) {
    options_.observer->OnRejection(ReasonOf(admission));
  }
  return admission;
}

absl::Status Scheduler::Submit(ScoreJob job) {
  const absl::Status admission = CatchOutOfMemory("queueing a request", [&]() -> absl::Status {
    auto run = std::make_unique<ScoreRun>(std::move(job));
    run->submit_time = options_.clock();
    absl::MutexLock lock(&mutex_);
    AMEND_RETURN_IF_ERROR(CheckAdmission(run->bytes));
    waiting_scores_.push_back(std::move(run));
    awake_ = true;
    return absl::OkStatus();
  });
  if (!admission.ok() && options_.observer != nullptr) {
    options_.observer->OnRejection(ReasonOf(admission));
  }
  return admission;
}

void Scheduler::Wake() {
  absl::MutexLock lock(&mutex_);
  awake_ = true;
}

void Scheduler::Drain() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
}

void Scheduler::Stop(absl::Duration grace) {
  absl::MutexLock stop_lock(&stop_mutex_);
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return running_count_ == 0 && waiting_.empty() && waiting_scores_.empty();
    };
    mutex_.AwaitWithTimeout(absl::Condition(&idle), grace);
    aborting_ = true;
    awake_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

int Scheduler::running() const {
  absl::MutexLock lock(&mutex_);
  return running_count_;
}

int Scheduler::waiting() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(waiting_.size() + waiting_scores_.size());
}

void Scheduler::Loop() {
  if (options_.on_thread_start) options_.on_thread_start();
  bool progress = false;
  while (AwaitWork(progress)) {
    const absl::Status round = CatchOutOfMemory("generating", [&] {
      progress = RunRound();
      return absl::OkStatus();
    });
    if (round.ok()) continue;
    // Where each sequence stands is not known any more.
    EndWhatIsOver(round);
    Sweep();
    progress = true;
  }
  EndWhatIsOver(DrainingError());
  Sweep();
}

bool Scheduler::RunRound() {
  LookAtReaders();
  EndWhatIsOver(absl::OkStatus());
  // What ended makes room for what waits.
  Sweep();
  // Asking for memory is a system call that a step need not wait for.
  if (HasWaiting()) {
    const absl::Status memory = CheckMemoryIsLeft();
    if (memory.ok()) {
      TakeWaiting();
    } else if (running_.empty() && scores_.empty()) {
      // Nothing that ends could give them memory.
      EndWhatIsOver(memory);
    }
  }
  MakeRoom();
  bool progress = RunStep();
  progress = RunScores() || progress;
  Sweep();
  return progress;
}

bool Scheduler::AwaitWork(bool progress) {
  absl::Duration timeout = absl::InfiniteDuration();
  if (progress) {
    timeout = absl::ZeroDuration();
  } else {
    const absl::Time now = options_.clock();
    const auto note_end = [&](const Sequence& sequence) {
      timeout = std::min(timeout, sequence.job.deadline - now);
      timeout = std::min(timeout, sequence.paused_since + options_.max_reader_pause - now);
    };
    for (const auto& sequence : running_) note_end(*sequence);
    absl::MutexLock lock(&mutex_);
    for (const auto& sequence : waiting_) note_end(*sequence);
  }
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&awake_), std::max(timeout, absl::ZeroDuration()));
  awake_ = false;
  return !aborting_;
}

absl::Status Scheduler::Interruption(bool cancelled, absl::Time deadline,
                                     const absl::Status& abort) const {
  if (!abort.ok()) return abort;
  if (cancelled) return absl::CancelledError("the client cancelled the request");
  const absl::Time now = options_.clock();
  if (now < deadline) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat("the request's deadline was ",
                                                  absl::FormatTime(deadline), ", now it is ",
                                                  absl::FormatTime(now)));
}

absl::Status Scheduler::Interruption(const Sequence& sequence, const absl::Status& abort) const {
  absl::Status status = Interruption(sequence.job.sink->Cancelled(), sequence.job.deadline, abort);
  if (!status.ok() || !sequence.paused()) return status;
  const absl::Duration pause = options_.clock() - sequence.paused_since;
  if (pause < options_.max_reader_pause) return absl::OkStatus();
  return WithReason(
      absl::AbortedError(absl::StrCat("the reader took nothing for ", absl::FormatDuration(pause))),
      "READER_STALLED");
}

void Scheduler::EndWhatIsOver(const absl::Status& abort) {
  std::vector<std::unique_ptr<Sequence>> over;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& sequence : waiting_) {
      if (!Interruption(*sequence, abort).ok()) over.push_back(std::move(sequence));
    }
    waiting_.erase(std::remove(waiting_.begin(), waiting_.end(), nullptr), waiting_.end());
    while (!abort.ok() && !waiting_scores_.empty()) {
      scores_.push_back(std::move(waiting_scores_.front()));
      waiting_scores_.pop_front();
    }
  }
  for (auto& sequence : over) {
    End(*sequence, Interruption(*sequence, abort), EndReason::kLength);
  }
  for (auto& sequence : running_) {
    const absl::Status status = Interruption(*sequence, abort);
    if (!status.ok()) End(*sequence, status, EndReason::kLength);
  }
  // Others are looked at before each of their pieces.
  for (auto& run : scores_) {
    if (!abort.ok()) EndScore(*run, abort);
  }
}

void Scheduler::LookAtReaders() {
  for (auto& sequence : running_) LookAtReader(*sequence);
  absl::MutexLock lock(&mutex_);
  for (auto& sequence : waiting_) {
    if (sequence->begun()) LookAtReader(*sequence);
  }
}

void Scheduler::LookAtReader(Sequence& sequence) const {
  if (sequence.job.sink->HasRoom()) {
    sequence.paused_since = absl::InfiniteFuture();
  } else if (!sequence.paused()) {
    sequence.paused_since = options_.clock();
  }
}

bool Scheduler::HasWaiting() const {
  absl::MutexLock lock(&mutex_);
  return !waiting_.empty() || !waiting_scores_.empty();
}

void Scheduler::TakeWaiting() {
  absl::MutexLock lock(&mutex_);
  size_t begun = running_.size() + std::count_if(waiting_.begin(), waiting_.end(),
                                                 [](const auto& s) { return s->begun(); });
  for (auto next = waiting_.begin(); next != waiting_.end() && running_.size() < max_running_;) {
    Sequence& sequence = **next;
    if (sequence.begun() && sequence.paused()) {
      ++next;
      continue;
    }
    if (!sequence.begun() && begun++ >= max_running_) break;
    if (!Admit(sequence)) break;
    LookAtReader(sequence);
    InsertInOrder(*next, &running_);
    next = waiting_.erase(next);
  }
  if (scores_.empty() && !waiting_scores_.empty()) {
    scores_.push_back(std::move(waiting_scores_.front()));
    waiting_scores_.pop_front();
  }
  running_count_ = static_cast<int>(running_.size() + scores_.size());
}

bool Scheduler::Admit(Sequence& sequence) {
  sequence.state = backend_->NewSequence(
      sequence.job.snapshot, {sequence.job.trace_hooks, CacheTokens(sequence.job), sequence.tokens,
                              static_cast<int64_t>(sequence.tokens.size())});
  if (sequence.state == nullptr) return false;
  sequence.fed = sequence.state->length();
  sequence.admitted_tokens = sequence.tokens.size();
  if (sequence.begun()) return true;
  sequence.cached_tokens = sequence.state->length();
  sequence.partly_cached_tokens = sequence.state->lower_length() - sequence.cached_tokens;
  sequence.admit_time = options_.clock();
  return true;
}

void Scheduler::MakeRoom() {
  // Whoever is in prefill has room since it was admitted.
  std::vector<Sequence*> growing;
  for (const auto& sequence : running_) {
    if (!sequence->prefilling() && !sequence->paused()) growing.push_back(sequence.get());
  }
  for (Sequence* sequence : growing) {
    const auto tokens = static_cast<int64_t>(sequence->tokens.size());
    while (sequence->state != nullptr && !sequence->state->Extend(tokens)) PreemptOne();
  }
}

void Scheduler::PreemptOne() {
  auto victim = std::find_if(running_.rbegin(), running_.rend(),
                             [](const auto& sequence) { return sequence->paused(); });
  if (victim == running_.rend()) victim = running_.rbegin();
  (*victim)->state.reset();
  {
    absl::MutexLock lock(&mutex_);
    InsertInOrder(*victim, &waiting_);
  }
  running_.erase(std::next(victim).base());
  if (options_.observer != nullptr) options_.observer->OnPreemption();
}

void Scheduler::Sweep() {
  running_.erase(std::remove_if(running_.begin(), running_.end(),
                                [](const auto& sequence) { return sequence->ended; }),
                 running_.end());
  while (!scores_.empty() && scores_.front()->job.sink == nullptr) scores_.pop_front();
  int running = 0;
  int waiting = 0;
  {
    absl::MutexLock lock(&mutex_);
    running_count_ = running = static_cast<int>(running_.size() + scores_.size());
    waiting = static_cast<int>(waiting_.size() + waiting_scores_.size());
  }
  if (options_.observer == nullptr) return;
  options_.observer->OnSequences(running, waiting);
  const DecodeBackend::CacheUse use = backend_->cache_use();
  options_.observer->OnKvCache(use.claimed, use.capacity);
}

std::vector<Scheduler::Sequence*> Scheduler::PickRows(std::vector<DecodeBackend::Row>* rows) {
  std::vector<Sequence*> picked;
  size_t budget = options_.max_prefill_tokens_per_step;
  for (const bool prefill : {false, true}) {
    for (auto& sequence : running_) {
      if (sequence->paused() || sequence->prefilling() != prefill) continue;
      size_t count = sequence->tokens.size() - sequence->fed;
      if (prefill) {
        count = std::min(count, budget);
        budget -= count;
      }
      if (count == 0) continue;
      sequence->step_tokens = count;
      rows->push_back({absl::MakeConstSpan(sequence->tokens).subspan(sequence->fed, count),
                       sequence->state.get()});
      picked.push_back(sequence.get());
    }
  }
  return picked;
}

bool Scheduler::RunStep() {
  std::vector<DecodeBackend::Row> rows;
  const std::vector<Sequence*> picked = PickRows(&rows);
  if (picked.empty()) return false;
  const auto logits = backend_->Step(rows);
  if (options_.observer != nullptr) {
    options_.observer->OnStep(static_cast<int>(rows.size()));
    const auto use = logits.ok() ? (*logits)->hook_use() : DecodeLogits::HookUse();
    if (use.tokens > 0) options_.observer->OnHooks(use.tokens, use.fired);
  }
  for (size_t i = 0; i < picked.size(); ++i) {
    Sequence& sequence = *picked[i];
    if (!logits.ok()) {
      End(sequence, FromMemory(logits.status()), EndReason::kLength);
      continue;
    }
    sequence.fed += sequence.step_tokens;
    for (HookFiring& firing : sequence.state->TakeFirings()) {
      if (firing.packed_row < static_cast<int64_t>(sequence.traced_tokens)) continue;
      sequence.pending.firings.push_back(std::move(firing));
    }
    sequence.traced_tokens = std::max(sequence.traced_tokens, sequence.fed);
    if (!sequence.prefilling()) TakeLogits(sequence, (*logits)->row(static_cast<int>(i)));
  }
  return true;
}

void Scheduler::TakeLogits(Sequence& sequence, absl::Span<const float> logits) {
  const auto sampled = sequence.sampler.Sample(logits, sequence.tokens);
  if (!sampled.ok()) return End(sequence, sampled.status(), EndReason::kLength);
  NoteTokenTime(sequence);
  sequence.tokens.push_back(sampled->id);
  sequence.pending.token_ids.push_back(sampled->id);
  sequence.pending.logprobs.push_back(sampled->logprob);
  ++sequence.generated;

  const auto& ends = options_.end_of_text_ids;
  const bool end_of_text = std::find(ends.begin(), ends.end(), sampled->id) != ends.end();
  if (!end_of_text)
    sequence.pending.text += sequence.text.Append(options_.token_bytes(sampled->id));
  if (end_of_text) {
    Finish(sequence, EndReason::kEndOfText);
  } else if (sequence.text.stopped()) {
    Finish(sequence, EndReason::kStop);
  } else if (sequence.generated >= sequence.job.max_new_tokens) {
    Finish(sequence, EndReason::kLength);
  } else if (sequence.tokens.size() >= static_cast<size_t>(options_.context_length)) {
    Finish(sequence, EndReason::kContextFull);
  } else if (!sequence.pending.text.empty()) {
    sequence.job.sink->OnTokens(std::exchange(sequence.pending, {}));
  }
}

void Scheduler::NoteTokenTime(Sequence& sequence) {
  const absl::Time now = options_.clock();
  if (sequence.generated == 0) {
    sequence.time_to_first_token = now - sequence.submit_time;
    if (options_.observer != nullptr) {
      options_.observer->OnFirstToken(sequence.time_to_first_token);
    }
  } else if (options_.observer != nullptr) {
    options_.observer->OnInterToken(now - sequence.last_token_time);
  }
  sequence.last_token_time = now;
}

void Scheduler::Finish(Sequence& sequence, EndReason reason) {
  sequence.pending.text += sequence.text.Finish();
  // What was held back for a longer stop string may hold a shorter one.
  if (sequence.text.stopped()) reason = EndReason::kStop;
  sequence.job.sink->OnTokens(std::exchange(sequence.pending, {}));
  End(sequence, absl::OkStatus(), reason);
}

void Scheduler::End(Sequence& sequence, absl::Status status, EndReason reason) {
  if (sequence.ended) return;
  sequence.ended = true;
  const absl::Time now = options_.clock();
  GenerationEnd end;
  end.reason = reason;
  end.prompt_tokens = static_cast<int>(sequence.job.prompt.size());
  end.cached_tokens = sequence.cached_tokens;
  end.generated_tokens = sequence.generated;
  end.queue_time = std::min(sequence.admit_time, now) - sequence.submit_time;
  end.time_to_first_token = sequence.time_to_first_token;
  end.total_time = now - sequence.submit_time;
  if (options_.observer != nullptr) {
    options_.observer->OnRequestEnd({ReasonName(status, reason), end.total_time, end.prompt_tokens,
                                     end.generated_tokens, end.cached_tokens,
                                     sequence.partly_cached_tokens});
  }
  end.status = std::move(status);
  sequence.job.sink->OnEnd(end);
}

bool Scheduler::RunScores() {
  if (scores_.empty() || scores_.front()->job.sink == nullptr) return false;
  ScoreRun& run = *scores_.front();
  const absl::Status interruption =
      Interruption(run.job.sink->Cancelled(), run.job.deadline, absl::OkStatus());
  if (!interruption.ok()) {
    EndScore(run, interruption);
    return true;
  }
  const auto items = absl::MakeConstSpan(run.job.items).subspan(run.done.size());
  size_t count = 0;
  size_t tokens = 0;
  for (; count < items.size(); ++count) {
    tokens += items[count].prompt.size() + items[count].continuation.size();
    if (count > 0 && tokens > static_cast<size_t>(options_.max_score_tokens_per_round)) break;
  }
  auto scores = backend_->Score(*run.job.snapshot, items.subspan(0, count));
  if (!scores.ok()) {
    EndScore(run, FromMemory(scores.status()));
    return true;
  }
  for (ScoredContinuation& score : *scores) run.done.push_back(std::move(score));
  if (run.done.size() >= run.job.items.size()) EndScore(run, absl::OkStatus());
  return true;
}

void Scheduler::EndScore(ScoreRun& run, absl::Status status) {
  if (run.job.sink == nullptr) return;
  if (options_.observer != nullptr) {
    int tokens = 0;
    for (const ScoreItem& item : run.job.items) {
      tokens += static_cast<int>(item.prompt.size() + item.continuation.size());
    }
    options_.observer->OnRequestEnd({status.ok() ? "score" : ReasonName(status, EndReason::kLength),
                                     options_.clock() - run.submit_time, tokens, 0, 0});
  }
  const std::shared_ptr<ScoreSink> sink = std::move(run.job.sink);
  run.job.sink = nullptr;
  if (status.ok()) {
    sink->OnScores(std::move(run.done));
  } else {
    sink->OnScores(std::move(status));
  }
}

}  // namespace amend
