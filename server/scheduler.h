#ifndef AMEND_SERVER_SCHEDULER_H_
#define AMEND_SERVER_SCHEDULER_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/types.h"
#include "core/generation/sampler.h"
#include "server/decode_backend.h"
#include "server/serving_model.h"
#include "server/serving_observer.h"

namespace amend {

// Why a sequence ended well.
enum class EndReason { kLength, kStop, kEndOfText, kContextFull };

// What one or more steps of a sequence brought.
struct TokenEvent {
  // Ends on a UTF-8 border.
  std::string text;
  // All tokens since the last event, also those whose text is held back, and an end-of-text token.
  std::vector<TokenId> token_ids;
  // One per token.
  std::vector<float> logprobs;
  std::vector<HookFiring> firings;
};

struct GenerationEnd {
  // CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE (draining), ABORTED (READER_STALLED) or what the
  // model said; the fields below but `reason` are set for any status.
  absl::Status status;
  EndReason reason = EndReason::kLength;
  int prompt_tokens = 0;
  // Of those, what an earlier sequence had left in the KV cache when it was first admitted.
  int cached_tokens = 0;
  int generated_tokens = 0;
  // From Submit until it was first admitted.
  absl::Duration queue_time;
  // From Submit; zero when there was no token. What a preemption costs is in this or behind it.
  absl::Duration time_to_first_token;
  absl::Duration total_time;
};

// Where the tokens of one sequence go. Implementations are thread-safe and never block. The
// scheduler holds a reference until OnEnd has returned.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // Asked between steps: true ends the sequence with CANCELLED.
  virtual bool Cancelled() const = 0;
  // Asked before each step: while false the sequence pauses. Whoever makes room calls
  // Scheduler::Wake afterwards.
  virtual bool HasRoom() const = 0;
  // At most once after each HasRoom that returned true.
  virtual void OnTokens(TokenEvent event) = 0;
  // Last call, exactly once for each successful Submit.
  virtual void OnEnd(const GenerationEnd& end) = 0;
};

// Where the results of one Score request go. As TokenSink.
class ScoreSink {
 public:
  virtual ~ScoreSink() = default;
  virtual bool Cancelled() const = 0;
  virtual void OnScores(absl::StatusOr<std::vector<ScoredContinuation>> scores) = 0;
};

struct GenerationJob {
  std::shared_ptr<const Snapshot> snapshot;
  // 1 .. context_length tokens.
  std::vector<TokenId> prompt;
  int max_new_tokens = 1;
  SamplingParams sampling;
  std::vector<std::string> stop;
  bool trace_hooks = false;
  // What the request itself takes until it ends.
  int64_t request_bytes = 0;
  absl::Time deadline = absl::InfiniteFuture();
  std::shared_ptr<TokenSink> sink;
};

struct ScoreJob {
  std::shared_ptr<const Snapshot> snapshot;
  std::vector<ScoreItem> items;
  // As of GenerationJob.
  int64_t request_bytes = 0;
  absl::Time deadline = absl::InfiniteFuture();
  std::shared_ptr<ScoreSink> sink;
};

// Runs all generation in one thread of its own: every round admits waiting sequences, runs one
// step over all running ones (whatever their revisions), samples, and hands the tokens on; Score
// jobs run in pieces between steps. Thread-safe.
//
// Guarantees:
//  1. A slow or dead reader never delays another sequence that runs. One that waits for room in the
//     KV cache may wait for that of a paused sequence, max_reader_pause at most.
//  2. What a sequence yields depends on its own job alone, on the CPU to the last bit: also where a
//     preemption has its tokens computed again, in other pieces than before.
//  3. The snapshot of a job is held until its end.
//  4. Sequences are admitted in the order of Submit, each once the KV cache has room for its tokens
//     and one block more for each that may yet grow. Where a sequence that runs is short of room,
//     another one is preempted: one whose reader is paused, otherwise the one submitted last. It
//     gives up its keys and values and waits, before all that have not begun, until it is admitted
//     again and computes them anew (or finds them still there); nobody sees any of that but by the
//     time it takes. While its reader is paused it lets others pass. The sequence submitted first
//     of those whose readers have room always goes on. Preempted ones do not count as waiting for
//     the max_waiting_* limits, but with those that run for max_running_sequences.
//  5. A sequence whose reader takes nothing for max_reader_pause ends, also while it waits.
//  6. Where memory ends in a step, its sequences end with RESOURCE_EXHAUSTED (OUT_OF_MEMORY); while
//     it is short, nothing that waits begins, and it ends so once nothing runs.
// The backend, the callbacks in Options and the observer outlive the scheduler.
class Scheduler {
 public:
  struct Options {
    // Sequences in one step, and those that have begun and not ended.
    int max_running_sequences = 64;
    // Jobs that wait to begin (also Score jobs); one more is turned away.
    int max_waiting_sequences = 256;
    // What jobs that wait take together, with their requests; one that would pass it is turned
    // away.
    int64_t max_waiting_bytes = int64_t{64} << 20;
    // Prompt tokens in one step, over all sequences: bounds how long a prompt holds up decoding.
    int max_prefill_tokens_per_step = 512;
    // Tokens scored between two steps (at least one item).
    int max_score_tokens_per_round = 512;
    // How long a sequence may wait for its reader, with its KV cache kept.
    absl::Duration max_reader_pause = absl::Seconds(60);
    int context_length = 0;
    std::vector<TokenId> end_of_text_ids;
    // The bytes of a token. Required.
    std::function<absl::string_view(TokenId)> token_bytes;
    std::function<absl::Time()> clock = absl::Now;
    // Called first on the scheduler thread. May be null.
    std::function<void()> on_thread_start;
    // May be null.
    ServingObserver* observer = nullptr;
  };

  Scheduler(DecodeBackend* backend, Options options);
  // Like Stop(absl::ZeroDuration()).
  ~Scheduler();

  // In the place of the numbers in Options, for requests and rounds that come. What runs or waits
  // already goes on.
  void SetLimits(int max_running_sequences, int max_waiting_sequences) ABSL_LOCKS_EXCLUDED(mutex_);

  // RESOURCE_EXHAUSTED (QUEUE_FULL, naming the limit in number or bytes, with a retry delay;
  // KV_CACHE_TOO_SMALL, naming what the job needs and what there is; OUT_OF_MEMORY) and UNAVAILABLE
  // (DRAINING): the sink is not called then.
  absl::Status Submit(GenerationJob job) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Submit(ScoreJob job) ABSL_LOCKS_EXCLUDED(mutex_);

  // Looks at the sinks again: after a cancellation, or when a sink has room.
  void Wake() ABSL_LOCKS_EXCLUDED(mutex_);

  // From now on Submit returns UNAVAILABLE.
  void Drain() ABSL_LOCKS_EXCLUDED(mutex_);
  // Drains, waits up to `grace` for what runs, ends the rest with UNAVAILABLE and joins the thread.
  void Stop(absl::Duration grace) ABSL_LOCKS_EXCLUDED(mutex_, stop_mutex_);

  int running() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Preempted ones too.
  int waiting() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Sequence;
  struct ScoreRun;

  // For a job of so many bytes.
  absl::Status CheckAdmission(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Loop();
  // Blocks until there may be something to do, not at all after a round with `progress`. False:
  // stopped.
  bool AwaitWork(bool progress);
  // Ends and forgets what was cancelled, is late or has no reader; everything, with `abort`, when
  // that is not OK.
  void EndWhatIsOver(const absl::Status& abort);
  // Notes whose readers have no room.
  void LookAtReaders();
  void LookAtReader(Sequence& sequence) const;
  bool HasWaiting() const ABSL_LOCKS_EXCLUDED(mutex_);
  void TakeWaiting();
  // False when the KV cache has no room for it now.
  bool Admit(Sequence& sequence);
  // True when there was something to run.
  bool RunRound();
  bool RunStep();
  bool RunScores();
  // Forgets what has ended and reports sizes.
  void Sweep();
  // Gives each sequence that decodes room for its next token, by preempting others where there is
  // none.
  void MakeRoom();
  void PreemptOne();
  // Rows of the next step: decodes first, then as much prefill as the budget allows.
  std::vector<Sequence*> PickRows(std::vector<DecodeBackend::Row>* rows);
  void TakeLogits(Sequence& sequence, absl::Span<const float> logits);
  void NoteTokenTime(Sequence& sequence);
  void Finish(Sequence& sequence, EndReason reason);
  void End(Sequence& sequence, absl::Status status, EndReason reason);
  void EndScore(ScoreRun& run, absl::Status status);
  // Tokens that the job's KV cache holds in the end.
  int64_t CacheTokens(const GenerationJob& job) const;
  absl::Status CheckFits(const GenerationJob& job) const;
  // CANCELLED or DEADLINE_EXCEEDED, or `abort` when it is not OK.
  absl::Status Interruption(bool cancelled, absl::Time deadline, const absl::Status& abort) const;
  // The same, or ABORTED (READER_STALLED).
  absl::Status Interruption(const Sequence& sequence, const absl::Status& abort) const;

  DecodeBackend* const backend_;
  const Options options_;

  mutable absl::Mutex mutex_;
  size_t max_running_ ABSL_GUARDED_BY(mutex_);
  size_t max_waiting_ ABSL_GUARDED_BY(mutex_);
  // By Submit, hence first those that were preempted.
  std::deque<std::unique_ptr<Sequence>> waiting_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::unique_ptr<ScoreRun>> waiting_scores_ ABSL_GUARDED_BY(mutex_);
  int64_t submitted_ ABSL_GUARDED_BY(mutex_) = 0;
  // Size of running_ and scores_ together.
  int running_count_ ABSL_GUARDED_BY(mutex_) = 0;
  // Something changed since the last round.
  bool awake_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool aborting_ ABSL_GUARDED_BY(mutex_) = false;

  // Owned by the scheduler thread.
  // By Submit.
  std::vector<std::unique_ptr<Sequence>> running_;
  std::deque<std::unique_ptr<ScoreRun>> scores_;

  absl::Mutex stop_mutex_;
  std::thread thread_ ABSL_GUARDED_BY(stop_mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_SCHEDULER_H_
