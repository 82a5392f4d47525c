#include "server/scheduler.h"

#include <algorithm>
#include <map>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/testing/byte_tokenizer.h"
#include "server/testing/fake_decode_backend.h"
#include "server/testing/recording_sink.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RecordingScoreSink : public ScoreSink {
 public:
  bool Cancelled() const override { return cancelled; }
  void OnScores(absl::StatusOr<std::vector<ScoredContinuation>> s) override {
    scores = std::move(s);
    done.Notify();
  }

  std::atomic<bool> cancelled = false;
  absl::Notification done;
  absl::StatusOr<std::vector<ScoredContinuation>> scores = absl::UnknownError("not called");
};

std::shared_ptr<const Snapshot> SnapshotOf(int64_t revision) {
  return std::make_shared<const Snapshot>(Snapshot{Revision(revision), nullptr});
}

class SchedulerTest : public ::testing::Test {
 protected:
  SchedulerTest() {
    options_.context_length = 1000;
    options_.token_bytes = [this](TokenId id) { return tokenizer_.TokenBytes(id); };
  }

  void Start() { scheduler_ = std::make_unique<Scheduler>(&backend_, options_); }

  GenerationJob Job(const std::string& prompt, int max_new_tokens, int64_t revision = 0) {
    GenerationJob job;
    job.snapshot = SnapshotOf(revision);
    job.prompt = tokenizer_.Encode(prompt);
    job.max_new_tokens = max_new_tokens;
    job.sink = std::make_shared<RecordingSink>();
    return job;
  }
  // Submits and returns the sink.
  std::shared_ptr<RecordingSink> Submit(GenerationJob job) {
    auto sink = std::static_pointer_cast<RecordingSink>(job.sink);
    EXPECT_THAT(scheduler_->Submit(std::move(job)), IsOk());
    return sink;
  }

  ByteTokenizer tokenizer_;
  FakeDecodeBackend backend_;
  Scheduler::Options options_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(SchedulerTest, ASequenceYieldsItsContinuation) {
  Start();
  const auto sink = Submit(Job("ab", 4));
  const GenerationEnd end = sink->AwaitEnd();
  EXPECT_THAT(end.status, IsOk());
  EXPECT_EQ(end.reason, EndReason::kLength);
  EXPECT_EQ(end.prompt_tokens, 2);
  EXPECT_EQ(end.generated_tokens, 4);
  EXPECT_EQ(sink->text(), "cdef");
}

TEST_F(SchedulerTest, SequencesOfDifferentRevisionsShareAStep) {
  Start();
  backend_.Close();
  const auto first = Submit(Job("a", 3));
  backend_.AwaitStepAtGate();
  const auto second = Submit(Job("a", 2, /*revision=*/1));
  backend_.Open();
  first->AwaitEnd();
  second->AwaitEnd();
  EXPECT_EQ(first->text(), "bcd");
  EXPECT_EQ(second->text(), "ce");
  EXPECT_THAT(backend_.row_sizes(), ElementsAre(SizeIs(1), SizeIs(2), SizeIs(2)));
}

TEST_F(SchedulerTest, AStopStringEndsTheTextBeforeIt) {
  Start();
  GenerationJob job = Job("a", 20);
  job.stop = {"ef"};
  const auto sink = Submit(std::move(job));
  EXPECT_EQ(sink->AwaitEnd().reason, EndReason::kStop);
  EXPECT_EQ(sink->text(), "bcd");
}

TEST_F(SchedulerTest, TextHeldBackForAStopStringComesAtTheEnd) {
  Start();
  GenerationJob job = Job("a", 4);
  job.stop = {"ez"};
  const auto sink = Submit(std::move(job));
  EXPECT_EQ(sink->AwaitEnd().reason, EndReason::kLength);
  EXPECT_EQ(sink->text(), "bcde");
}

TEST_F(SchedulerTest, AStopStringThatIsCertainOnlyAtTheLastTokenIsTheReason) {
  Start();
  GenerationJob job = Job("a", 3);
  // "cd" is complete at the third token, but "bcdz" might still begin before it.
  job.stop = {"cd", "bcdz"};
  const auto sink = Submit(std::move(job));
  EXPECT_EQ(sink->AwaitEnd().reason, EndReason::kStop);
  EXPECT_EQ(sink->text(), "b");
}

TEST_F(SchedulerTest, TheEndOfTextTokenEndsTheSequenceWithoutText) {
  options_.end_of_text_ids = {'d'};
  Start();
  const auto sink = Submit(Job("a", 20));
  EXPECT_EQ(sink->AwaitEnd().reason, EndReason::kEndOfText);
  EXPECT_EQ(sink->text(), "bc");
  EXPECT_THAT(sink->tokens(), ElementsAre('b', 'c', 'd'));
}

TEST_F(SchedulerTest, AFullContextEndsTheSequence) {
  options_.context_length = 5;
  Start();
  const auto sink = Submit(Job("abc", 20));
  EXPECT_EQ(sink->AwaitEnd().reason, EndReason::kContextFull);
  EXPECT_EQ(sink->text(), "de");
}

TEST_F(SchedulerTest, APromptOfTheWholeContextStillYieldsOneToken) {
  options_.context_length = 3;
  Start();
  const auto sink = Submit(Job("abc", 20));
  EXPECT_EQ(sink->AwaitEnd().reason, EndReason::kContextFull);
  EXPECT_EQ(sink->text(), "d");
}

TEST_F(SchedulerTest, ALongPromptIsFedInPieces) {
  options_.max_prefill_tokens_per_step = 4;
  Start();
  const auto sink = Submit(Job("abcdefghij", 2));
  sink->AwaitEnd();
  EXPECT_EQ(sink->text(), "kl");
  EXPECT_THAT(backend_.row_sizes(),
              ElementsAre(ElementsAre(4), ElementsAre(4), ElementsAre(2), ElementsAre(1)));
}

TEST_F(SchedulerTest, ALongPromptDoesNotHoldUpARunningSequence) {
  options_.max_prefill_tokens_per_step = 2;
  Start();
  backend_.Close();
  const auto running = Submit(Job("a", 5));
  backend_.AwaitStepAtGate();
  const auto prompt = Submit(Job("abcdefgh", 1));
  backend_.Open();
  running->AwaitEnd();
  prompt->AwaitEnd();
  // While the prompt goes in two by two, the running sequence gets its token in each step.
  EXPECT_THAT(backend_.row_sizes(),
              ElementsAre(ElementsAre(1), ElementsAre(1, 2), ElementsAre(1, 2), ElementsAre(1, 2),
                          ElementsAre(1, 2)));
}

TEST_F(SchedulerTest, NoMoreSequencesRunThanAllowedAndTheRestFollowInOrder) {
  options_.max_running_sequences = 2;
  Start();
  backend_.Close();
  const auto first = Submit(Job("a", 2));
  backend_.AwaitStepAtGate();
  const auto second = Submit(Job("b", 3));
  const auto third = Submit(Job("c", 1));
  backend_.Open();
  third->AwaitEnd();
  second->AwaitEnd();
  EXPECT_TRUE(first->ended());
  EXPECT_THAT(backend_.row_sizes(), Each(SizeIs(::testing::Le(2u))));
}

TEST_F(SchedulerTest, NewLimitsHoldFromThenOn) {
  options_.max_running_sequences = 1;
  options_.max_waiting_sequences = 1;
  Start();
  backend_.Close();
  const auto first = Submit(Job("a", 1));
  backend_.AwaitStepAtGate();
  const auto second = Submit(Job("a", 1));
  EXPECT_THAT(scheduler_->Submit(Job("a", 1)),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("limit is 1")));
  scheduler_->SetLimits(2, 2);
  const auto third = Submit(Job("a", 1));
  EXPECT_THAT(scheduler_->Submit(Job("a", 1)),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("limit is 2")));
  backend_.Open();
  third->AwaitEnd();
  EXPECT_THAT(backend_.row_sizes(), ::testing::Contains(SizeIs(2u)));
}

TEST_F(SchedulerTest, AFullQueueTurnsRequestsAwayWithARetryDelay) {
  options_.max_running_sequences = 1;
  options_.max_waiting_sequences = 2;
  Start();
  backend_.Close();
  const auto first = Submit(Job("a", 1));
  backend_.AwaitStepAtGate();
  const auto second = Submit(Job("a", 1));
  const auto third = Submit(Job("a", 1));
  const absl::Status status = scheduler_->Submit(Job("a", 1));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("limit is 2")));
  EXPECT_EQ(ReasonOf(status), "QUEUE_FULL");
  EXPECT_TRUE(status.GetPayload("type.googleapis.com/google.rpc.RetryInfo").has_value());
  backend_.Open();
  EXPECT_THAT(third->AwaitEnd().status, IsOk());
}

TEST_F(SchedulerTest, AQueueThatIsFullInBytesTurnsRequestsAwayUntilItIsNot) {
  options_.max_running_sequences = 1;
  options_.max_waiting_bytes = 1000;
  backend_.Close();
  Start();
  const auto first = Submit(Job("a", 1));
  backend_.AwaitStepAtGate();
  const auto large = [this] {
    GenerationJob job = Job("a", 1);
    job.request_bytes = 900;
    return job;
  };
  const auto second = Submit(large());
  const absl::Status status = scheduler_->Submit(large());
  // The prompt's token, twice, is with it.
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted,
                               HasSubstr("take 908 bytes, this one 908, the limit is 1000")));
  EXPECT_EQ(ReasonOf(status), "QUEUE_FULL");
  EXPECT_TRUE(status.GetPayload("type.googleapis.com/google.rpc.RetryInfo").has_value());
  const auto small = Submit(Job("a", 1));
  backend_.Open();
  EXPECT_THAT(small->AwaitEnd().status, IsOk());
  EXPECT_THAT(Submit(large())->AwaitEnd().status, IsOk());
}

TEST_F(SchedulerTest, TokensOfAScoreJobThatWaitsCount) {
  options_.max_waiting_bytes = 1000;
  Start();
  ScoreJob job;
  job.snapshot = SnapshotOf(0);
  job.items.push_back({std::vector<TokenId>(200, 1), std::vector<TokenId>(100, 1)});
  job.sink = std::make_shared<RecordingScoreSink>();
  EXPECT_THAT(scheduler_->Submit(std::move(job)),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("the limit is 1000")));
}

TEST_F(SchedulerTest, ASlowReaderPausesItsSequenceAlone) {
  Start();
  GenerationJob slow_job = Job("a", 10);
  auto slow = std::make_shared<RecordingSink>(/*room=*/3);
  slow_job.sink = slow;
  Submit(std::move(slow_job));
  const auto other = Submit(Job("A", 20));
  EXPECT_THAT(other->AwaitEnd().status, IsOk());
  slow->AwaitEvents(3);
  EXPECT_EQ(slow->text(), "bcd");
  EXPECT_FALSE(slow->ended());
  slow->GiveRoom(100);
  scheduler_->Wake();
  EXPECT_THAT(slow->AwaitEnd().status, IsOk());
  EXPECT_EQ(slow->text(), "bcdefghijk");
}

TEST_F(SchedulerTest, ACancelledSequenceEndsWhilePaused) {
  Start();
  GenerationJob job = Job("a", 10);
  auto sink = std::make_shared<RecordingSink>(/*room=*/1);
  job.sink = sink;
  Submit(std::move(job));
  sink->AwaitEvents(1);
  sink->Cancel();
  scheduler_->Wake();
  EXPECT_THAT(sink->AwaitEnd().status, StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(SchedulerTest, ACancelledSequenceEndsWhileItWaits) {
  options_.max_running_sequences = 1;
  Start();
  GenerationJob blocking = Job("a", 10);
  auto blocker = std::make_shared<RecordingSink>(/*room=*/1);
  blocking.sink = blocker;
  Submit(std::move(blocking));
  const auto waiting = Submit(Job("a", 10));
  blocker->AwaitEvents(1);
  waiting->Cancel();
  scheduler_->Wake();
  const GenerationEnd end = waiting->AwaitEnd();
  EXPECT_THAT(end.status, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(end.generated_tokens, 0);
  EXPECT_FALSE(blocker->ended());
}

TEST_F(SchedulerTest, APassedDeadlineEndsTheSequence) {
  const absl::Time start = absl::FromUnixSeconds(1000);
  std::atomic<int64_t> seconds = 0;
  options_.clock = [&] { return start + absl::Seconds(seconds.load()); };
  Start();
  backend_.Close();
  GenerationJob job = Job("a", 10);
  job.deadline = start + absl::Seconds(5);
  const auto sink = Submit(std::move(job));
  backend_.AwaitStepAtGate();
  seconds = 5;
  backend_.Open();
  const GenerationEnd end = sink->AwaitEnd();
  EXPECT_THAT(end.status, StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(end.generated_tokens, 1);
}

TEST_F(SchedulerTest, TheSameSeedGivesTheSameTokensWhateverElseRuns) {
  const auto sampled = [&] {
    GenerationJob job = Job("a", 30);
    job.sampling.temperature = 1.0f;
    job.sampling.seed = 7;
    return job;
  };
  Start();
  const auto alone = Submit(sampled());
  alone->AwaitEnd();
  std::vector<std::shared_ptr<RecordingSink>> others;
  backend_.Close();
  for (int i = 0; i < 5; ++i) {
    GenerationJob other = Job("xyz", 10 + i);
    other.sampling.temperature = 2.0f;
    other.sampling.seed = i;
    others.push_back(Submit(std::move(other)));
  }
  const auto among = Submit(sampled());
  backend_.Open();
  among->AwaitEnd();
  EXPECT_EQ(alone->tokens(), among->tokens());
  for (const auto& other : others) other->AwaitEnd();
}

TEST_F(SchedulerTest, TheSnapshotIsHeldToTheEndOfItsSequence) {
  Start();
  backend_.Close();
  GenerationJob job = Job("a", 3);
  const std::weak_ptr<const Snapshot> held = job.snapshot;
  const auto sink = Submit(std::move(job));
  backend_.AwaitStepAtGate();
  // A promotion drops the serving model's reference; the sequence goes on with its own.
  EXPECT_FALSE(held.expired());
  backend_.Open();
  sink->AwaitEnd();
  EXPECT_EQ(sink->text(), "bcd");
  scheduler_->Stop(absl::InfiniteDuration());
  EXPECT_TRUE(held.expired());
}

TEST_F(SchedulerTest, AFailedStepEndsItsSequencesAndTheNextOnesRun) {
  Start();
  backend_.SetStepStatus(absl::InternalError("broken"));
  EXPECT_THAT(Submit(Job("a", 3))->AwaitEnd().status,
              StatusIs(absl::StatusCode::kInternal, HasSubstr("broken")));
  backend_.SetStepStatus(absl::OkStatus());
  EXPECT_THAT(Submit(Job("a", 3))->AwaitEnd().status, IsOk());
}

TEST_F(SchedulerTest, WhereMemoryEndsWhatRunsAndWaitsEndsAndTheNextOnesRun) {
  options_.max_running_sequences = 1;
  backend_.Close();
  Start();
  const auto runs = Submit(Job("a", 3));
  const auto waits = Submit(Job("b", 3));
  backend_.SetOutOfMemory(true);
  backend_.Open();
  for (const auto& sink : {runs, waits}) {
    const absl::Status status = sink->AwaitEnd().status;
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(ReasonOf(status), "OUT_OF_MEMORY");
  }
  backend_.SetOutOfMemory(false);
  EXPECT_THAT(Submit(Job("a", 3))->AwaitEnd().status, IsOk());
}

TEST_F(SchedulerTest, AStepThatSaysItHasNoMemoryIsAReasonToTryAgain) {
  Start();
  backend_.SetStepStatus(absl::ResourceExhaustedError("decoding: can't allocate memory"));
  EXPECT_EQ(ReasonOf(Submit(Job("a", 3))->AwaitEnd().status), "OUT_OF_MEMORY");
}

TEST_F(SchedulerTest, FiringsComeWithTheirTokensWhenTraced) {
  Start();
  GenerationJob job = Job("ab", 2);
  job.trace_hooks = true;
  const auto traced = Submit(std::move(job));
  const auto untraced = Submit(Job("ab", 2));
  traced->AwaitEnd();
  untraced->AwaitEnd();
  EXPECT_THAT(traced->firings(), SizeIs(3));
  EXPECT_THAT(untraced->firings(), IsEmpty());
}

TEST_F(SchedulerTest, ScoresComeInOrderAndInPieces) {
  options_.max_score_tokens_per_round = 4;
  Start();
  ScoreJob job;
  job.snapshot = SnapshotOf(2);
  for (const std::string word : {"x", "y", "z"}) {
    job.items.push_back({tokenizer_.Encode("a"), tokenizer_.Encode(word)});
  }
  const auto sink = std::make_shared<RecordingScoreSink>();
  job.sink = sink;
  ASSERT_THAT(scheduler_->Submit(std::move(job)), IsOk());
  sink->done.WaitForNotification();
  ASSERT_THAT(sink->scores, IsOk());
  ASSERT_THAT(*sink->scores, SizeIs(3));
  EXPECT_THAT((*sink->scores)[2].argmax, ElementsAre('z'));
  EXPECT_THAT(backend_.score_sizes(), ElementsAre(2, 1));
}

TEST_F(SchedulerTest, ACancelledScoreJobEnds) {
  Start();
  ScoreJob job;
  job.snapshot = SnapshotOf(0);
  job.items.push_back({tokenizer_.Encode("a"), tokenizer_.Encode("b")});
  const auto sink = std::make_shared<RecordingScoreSink>();
  sink->cancelled = true;
  job.sink = sink;
  backend_.Close();
  const auto running = Submit(Job("a", 2));
  backend_.AwaitStepAtGate();
  ASSERT_THAT(scheduler_->Submit(std::move(job)), IsOk());
  backend_.Open();
  sink->done.WaitForNotification();
  EXPECT_THAT(sink->scores, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(backend_.score_sizes(), IsEmpty());
}

TEST_F(SchedulerTest, ADrainingSchedulerTakesNothingNewAndFinishesWhatRuns) {
  Start();
  backend_.Close();
  const auto sink = Submit(Job("a", 3));
  backend_.AwaitStepAtGate();
  scheduler_->Drain();
  const absl::Status status = scheduler_->Submit(Job("a", 1));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("draining")));
  EXPECT_EQ(ReasonOf(status), "DRAINING");
  backend_.Open();
  scheduler_->Stop(absl::InfiniteDuration());
  EXPECT_THAT(sink->AwaitEnd().status, IsOk());
  EXPECT_EQ(sink->text(), "bcd");
}

TEST_F(SchedulerTest, AJobWaitsForRoomInTheCacheAndThoseBehindItWaitToo) {
  backend_.SetCacheCapacity(8);
  Start();
  backend_.Close();
  const auto first = Submit(Job("abcdef", 3));  // 8 tokens
  backend_.AwaitStepAtGate();
  const auto large = Submit(Job("abc", 4));
  const auto small = Submit(Job("a", 1));
  backend_.Open();
  large->AwaitEnd();
  small->AwaitEnd();
  EXPECT_EQ(first->text(), "ghi");
  EXPECT_EQ(large->text(), "defg");
  EXPECT_EQ(small->text(), "b");
  // `first` alone; then the two others together.
  EXPECT_THAT(backend_.row_sizes(),
              ElementsAre(ElementsAre(6), ElementsAre(1), ElementsAre(1), ElementsAre(3, 1),
                          ElementsAre(1), ElementsAre(1), ElementsAre(1)));
}

TEST_F(SchedulerTest, AJobIsAdmittedOnceThereIsRoomForItsPrompt) {
  backend_.SetCacheCapacity(60);
  Start();
  backend_.Close();
  const auto first = Submit(Job("ab", 50));
  backend_.AwaitStepAtGate();
  GenerationJob asks_for_more = Job("a", 50);
  asks_for_more.stop = {"d"};
  const auto second = Submit(std::move(asks_for_more));
  backend_.Open();
  EXPECT_EQ(second->AwaitEnd().reason, EndReason::kStop);
  first->AwaitEnd();
  EXPECT_THAT(backend_.row_sizes()[1], ElementsAre(1, 1));
}

TEST_F(SchedulerTest, AJobThatCanNeverFitIsRefusedWithBothNumbers) {
  backend_.SetCacheCapacity(8);
  Start();
  const absl::Status status = scheduler_->Submit(Job("abcdef", 4));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted,
                               AllOf(HasSubstr("room for 9"), HasSubstr("holds 8"))));
  EXPECT_EQ(ReasonOf(status), "KV_CACHE_TOO_SMALL");
  EXPECT_EQ(Submit(Job("abcdef", 3))->AwaitEnd().generated_tokens, 3);
}

TEST_F(SchedulerTest, NoJobNeedsMoreRoomThanTheContext) {
  options_.context_length = 8;
  backend_.SetCacheCapacity(8);
  Start();
  EXPECT_EQ(Submit(Job("abc", 8))->AwaitEnd().reason, EndReason::kContextFull);
}

TEST_F(SchedulerTest, WhatIsInTheCacheIsNotFedAgain) {
  backend_.SetCachedTokens(3);
  Start();
  const auto sink = Submit(Job("abcde", 2));
  const GenerationEnd end = sink->AwaitEnd();
  EXPECT_EQ(sink->text(), "fg");
  EXPECT_EQ(end.cached_tokens, 3);
  EXPECT_THAT(backend_.row_sizes(), ElementsAre(ElementsAre(2), ElementsAre(1)));
}

TEST_F(SchedulerTest, AReaderThatTakesNothingEndsItsSequenceAndMakesRoom) {
  const absl::Time start = absl::FromUnixSeconds(1000);
  std::atomic<int64_t> seconds = 0;
  options_.clock = [&] { return start + absl::Seconds(seconds.load()); };
  options_.max_reader_pause = absl::Seconds(30);
  options_.max_running_sequences = 1;
  Start();
  GenerationJob job = Job("a", 10);
  auto stuck = std::make_shared<RecordingSink>(/*room=*/2);
  job.sink = stuck;
  Submit(std::move(job));
  const auto waiting = Submit(Job("a", 1));
  stuck->AwaitPause();
  seconds = 29;
  // One that reads again in time goes on; its pause counts from anew.
  stuck->GiveRoom(1);
  scheduler_->Wake();
  stuck->AwaitEvents(3);
  stuck->AwaitPause();
  EXPECT_EQ(stuck->text(), "bcd");
  seconds = 58;
  scheduler_->Wake();
  EXPECT_FALSE(stuck->ended());
  seconds = 59;
  scheduler_->Wake();
  const GenerationEnd end = stuck->AwaitEnd();
  EXPECT_THAT(end.status, StatusIs(absl::StatusCode::kAborted, HasSubstr("took nothing")));
  EXPECT_EQ(ReasonOf(end.status), "READER_STALLED");
  EXPECT_EQ(end.generated_tokens, 3);
  EXPECT_THAT(waiting->AwaitEnd().status, IsOk());
}

TEST_F(SchedulerTest, ACancelledSequenceThatPausedMakesRoomAtOnce) {
  options_.max_running_sequences = 1;
  Start();
  GenerationJob job = Job("a", 10);
  auto paused = std::make_shared<RecordingSink>(/*room=*/1);
  job.sink = paused;
  Submit(std::move(job));
  paused->AwaitEvents(1);
  const auto waiting = Submit(Job("a", 1));
  paused->Cancel();
  scheduler_->Wake();
  EXPECT_THAT(waiting->AwaitEnd().status, IsOk());
}

TEST_F(SchedulerTest, StopEndsWhatDoesNotFinishInTime) {
  Start();
  GenerationJob job = Job("a", 10);
  auto sink = std::make_shared<RecordingSink>(/*room=*/1);
  job.sink = sink;
  Submit(std::move(job));
  sink->AwaitEvents(1);
  scheduler_->Stop(absl::Milliseconds(1));
  EXPECT_THAT(sink->AwaitEnd().status,
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("draining")));
}

TEST_F(SchedulerTest, TheObserverLearnsSizesTimesAndEnds) {
  struct Observer : ServingObserver {
    void OnStep(int rows) override { steps += rows; }
    void OnHooks(int64_t step_tokens, int64_t /*fired*/) override { tokens += step_tokens; }
    void OnFirstToken(absl::Duration) override { ++first_tokens; }
    void OnInterToken(absl::Duration) override { ++inter_tokens; }
    void OnRequestEnd(const RequestEnd& end) override {
      reason = std::string(end.finish_reason);
      generated = end.generated_tokens;
    }
    int steps = 0;
    int64_t tokens = 0;
    int first_tokens = 0;
    int inter_tokens = 0;
    int generated = 0;
    std::string reason;
  } observer;
  options_.observer = &observer;
  Start();
  Submit(Job("ab", 3))->AwaitEnd();
  scheduler_->Stop(absl::InfiniteDuration());
  EXPECT_EQ(observer.steps, 3);
  EXPECT_EQ(observer.tokens, 4);
  EXPECT_EQ(observer.first_tokens, 1);
  EXPECT_EQ(observer.inter_tokens, 2);
  EXPECT_EQ(observer.generated, 3);
  EXPECT_EQ(observer.reason, "length");
}

TEST_F(SchedulerTest, TokensOfWhichTheLowerLayersAreCachedAreFedAndCountedApart) {
  struct Observer : ServingObserver {
    void OnRequestEnd(const RequestEnd& e) override { end = e; }
    RequestEnd end;
  } observer;
  options_.observer = &observer;
  backend_.SetCachedTokens(1);
  backend_.SetLowerCachedTokens(3);
  Start();
  const auto sink = Submit(Job("abcde", 2));
  EXPECT_EQ(sink->AwaitEnd().cached_tokens, 1);
  scheduler_->Stop(absl::InfiniteDuration());
  EXPECT_EQ(sink->text(), "fg");
  EXPECT_THAT(backend_.row_sizes(), ElementsAre(ElementsAre(4), ElementsAre(1)));
  EXPECT_EQ(observer.end.cached_tokens, 1);
  EXPECT_EQ(observer.end.partly_cached_tokens, 2);
}

}  // namespace
}  // namespace amend
