// What the scheduler does where the KV cache is too small for all that runs.
#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/scheduler.h"
#include "server/testing/byte_tokenizer.h"
#include "server/testing/fake_decode_backend.h"
#include "server/testing/recording_sink.h"

namespace amend {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Counts preemptions; stops at the first one if told to.
class Observer : public ServingObserver {
 public:
  explicit Observer(FakeDecodeBackend* backend) : backend_(backend) {}
  void StopAtFirst() { stops_ = true; }
  // The step behind the first one waits at the gate.
  void AwaitFirst() {
    first_.WaitForNotification();
    backend_->AwaitStepAtGate();
  }
  void OnPreemption() override {
    if (stops_) backend_->Close();
    if (count_++ == 0) first_.Notify();
    stops_ = false;
  }
  int count() const { return count_; }

 private:
  FakeDecodeBackend* const backend_;
  std::atomic<bool> stops_ = false;
  std::atomic<int> count_ = 0;
  absl::Notification first_;
};

// A block of the cache has one token here.
class SchedulerPreemptionTest : public ::testing::Test {
 protected:
  SchedulerPreemptionTest() : observer_(&backend_) {
    options_.context_length = 1000;
    options_.token_bytes = [this](TokenId id) { return tokenizer_.TokenBytes(id); };
    options_.observer = &observer_;
    options_.clock = [this] { return Now(); };
  }

  absl::Time Now() const { return absl::FromUnixSeconds(1000 + seconds_); }

  void Start(int64_t cache_tokens) {
    scheduler_.reset();
    backend_.SetCacheCapacity(cache_tokens);
    scheduler_ = std::make_unique<Scheduler>(&backend_, options_);
  }

  // Of revision 0: counts up.
  GenerationJob Job(const std::string& prompt, int max_new_tokens) {
    GenerationJob job;
    job.snapshot = std::make_shared<const Snapshot>(Snapshot{kBaseRevision, nullptr});
    job.prompt = tokenizer_.Encode(prompt);
    job.max_new_tokens = max_new_tokens;
    job.sink = std::make_shared<RecordingSink>();
    return job;
  }
  std::shared_ptr<RecordingSink> Submit(GenerationJob job) {
    auto sink = std::static_pointer_cast<RecordingSink>(job.sink);
    EXPECT_THAT(scheduler_->Submit(std::move(job)), IsOk());
    return sink;
  }
  // The first of `jobs` runs before the others are submitted; all others then are admitted in one
  // round, as far as there is room.
  std::vector<std::shared_ptr<RecordingSink>> SubmitInTurn(std::vector<GenerationJob> jobs) {
    std::vector<std::shared_ptr<RecordingSink>> sinks;
    backend_.Close();
    for (GenerationJob& job : jobs) {
      sinks.push_back(Submit(std::move(job)));
      if (sinks.size() == 1) backend_.AwaitStepAtGate();
    }
    backend_.Open();
    return sinks;
  }

  // Runs two sequences in a cache of seven tokens, in which each fits alone, up to the step before
  // which the second one, with two tokens generated, was preempted: that waits at the gate.
  std::vector<std::shared_ptr<RecordingSink>> PreemptSecond(GenerationJob second) {
    observer_.StopAtFirst();
    Start(7);
    std::vector<GenerationJob> jobs;
    jobs.push_back(Job("ab", 6));
    jobs.push_back(std::move(second));
    auto sinks = SubmitInTurn(std::move(jobs));
    observer_.AwaitFirst();
    EXPECT_THAT(backend_.row_sizes(),
                ElementsAre(ElementsAre(2), ElementsAre(1, 2), ElementsAre(1, 1)));
    EXPECT_EQ(observer_.count(), 1);
    return sinks;
  }

  ByteTokenizer tokenizer_;
  FakeDecodeBackend backend_;
  Observer observer_;
  std::atomic<int64_t> seconds_ = 0;
  Scheduler::Options options_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(SchedulerPreemptionTest, TheOneSubmittedLastGivesUpItsRoomAndGoesOnFirst) {
  Start(7);
  std::vector<GenerationJob> jobs;
  jobs.push_back(Job("ab", 6));
  jobs.push_back(Job("AB", 6));
  jobs.push_back(Job("wxy", 1));
  const auto sinks = SubmitInTurn(std::move(jobs));
  for (const auto& sink : sinks) EXPECT_THAT(sink->AwaitEnd().status, IsOk());
  EXPECT_EQ(sinks[0]->text(), "cdefgh");
  EXPECT_EQ(sinks[1]->text(), "CDEFGH");
  EXPECT_EQ(sinks[2]->text(), "z");
  // In the fourth step the first one is alone; when it has ended, the second one's four tokens are
  // fed again, and the third one, for which there is no room beside it, comes last.
  EXPECT_THAT(backend_.row_sizes(),
              ElementsAre(ElementsAre(2), ElementsAre(1, 2), ElementsAre(1, 1), ElementsAre(1),
                          ElementsAre(1), ElementsAre(1), ElementsAre(4), ElementsAre(1),
                          ElementsAre(1), ElementsAre(1), ElementsAre(3)));
  EXPECT_EQ(observer_.count(), 1);
}

TEST_F(SchedulerPreemptionTest, ItsTokensAreFedAgainInPieces) {
  options_.max_prefill_tokens_per_step = 3;
  const auto sinks = PreemptSecond(Job("AB", 6));
  backend_.Open();
  sinks[1]->AwaitEnd();
  EXPECT_EQ(sinks[1]->text(), "CDEFGH");
  const auto sizes = backend_.row_sizes();
  ASSERT_THAT(sizes, SizeIs(11u));
  EXPECT_THAT(sizes[6], ElementsAre(3));
  EXPECT_THAT(sizes[7], ElementsAre(1));
}

TEST_F(SchedulerPreemptionTest, ASampledSequenceYieldsWhatItYieldsAlone) {
  const auto sampled = [this](uint64_t seed) {
    GenerationJob job = Job("AB", 20);
    job.sampling.temperature = 1.0f;
    job.sampling.repetition_penalty = 1.3f;
    job.sampling.seed = seed;
    return job;
  };
  std::vector<std::vector<TokenId>> tokens;
  std::vector<std::vector<float>> logprobs;
  for (const int64_t capacity : {1000, 25}) {
    Start(capacity);
    std::vector<GenerationJob> jobs;
    for (uint64_t seed = 0; seed < 4; ++seed) jobs.push_back(sampled(seed));
    for (const auto& sink : SubmitInTurn(std::move(jobs))) {
      EXPECT_THAT(sink->AwaitEnd().status, IsOk());
      tokens.push_back(sink->tokens());
      logprobs.push_back(sink->logprobs());
    }
    EXPECT_EQ(observer_.count() > 0, capacity == 25);
  }
  for (int i = 0; i < 4; ++i) {
    EXPECT_THAT(tokens[i], SizeIs(20u));
    EXPECT_EQ(tokens[i + 4], tokens[i]);
    EXPECT_EQ(logprobs[i + 4], logprobs[i]);
  }
}

TEST_F(SchedulerPreemptionTest, AStopStringMayBeginBeforeAndEndBehindIt) {
  GenerationJob job = Job("AB", 6);
  job.stop = {"DEF"};
  const auto sinks = PreemptSecond(std::move(job));
  EXPECT_EQ(sinks[1]->text(), "C");
  backend_.Open();
  EXPECT_EQ(sinks[1]->AwaitEnd().reason, EndReason::kStop);
  EXPECT_EQ(sinks[1]->text(), "C");
  EXPECT_THAT(sinks[1]->tokens(), ElementsAre('C', 'D', 'E', 'F'));
}

TEST_F(SchedulerPreemptionTest, WhatFiresAtATokenIsToldOnce) {
  GenerationJob job = Job("AB", 6);
  job.trace_hooks = true;
  const auto sinks = PreemptSecond(std::move(job));
  backend_.Open();
  sinks[1]->AwaitEnd();
  std::vector<int64_t> positions;
  for (const HookFiring& firing : sinks[1]->firings()) positions.push_back(firing.packed_row);
  EXPECT_THAT(positions, ElementsAre(0, 1, 2, 3, 4, 5, 6));
}

TEST_F(SchedulerPreemptionTest, AnUnfinishedPromptIsFedAgainFromItsBeginning) {
  options_.max_prefill_tokens_per_step = 1;
  Start(8);
  std::vector<GenerationJob> jobs;
  jobs.push_back(Job("a", 7));
  jobs.push_back(Job("ABCDE", 1));
  jobs.back().trace_hooks = true;
  const auto sinks = SubmitInTurn(std::move(jobs));
  EXPECT_EQ(sinks[1]->AwaitEnd().generated_tokens, 1);
  EXPECT_EQ(sinks[0]->text(), "bcdefgh");
  EXPECT_EQ(sinks[1]->text(), "F");
  EXPECT_EQ(observer_.count(), 1);
  EXPECT_THAT(sinks[1]->firings(), SizeIs(5u));
  // Two pieces, and after the first one's seven steps all five.
  EXPECT_THAT(backend_.row_sizes(), SizeIs(7u + 5u));
  EXPECT_THAT(backend_.row_sizes()[2], ElementsAre(1, 1));
  EXPECT_THAT(backend_.row_sizes()[3], ElementsAre(1));
}

TEST_F(SchedulerPreemptionTest, CancelledWhileItWaitsItEndsWithItsCounts) {
  const auto sinks = PreemptSecond(Job("AB", 6));
  sinks[1]->Cancel();
  backend_.Open();
  const GenerationEnd end = sinks[1]->AwaitEnd();
  EXPECT_THAT(end.status, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(end.prompt_tokens, 2);
  EXPECT_EQ(end.generated_tokens, 2);
  EXPECT_THAT(sinks[1]->tokens(), ElementsAre('C', 'D'));
  EXPECT_THAT(sinks[0]->AwaitEnd().status, IsOk());
}

TEST_F(SchedulerPreemptionTest, ItsDeadlineEndsItWhileItWaits) {
  GenerationJob job = Job("AB", 6);
  job.deadline = Now() + absl::Seconds(5);
  const auto sinks = PreemptSecond(std::move(job));
  seconds_ = 5;
  backend_.Open();
  const GenerationEnd end = sinks[1]->AwaitEnd();
  EXPECT_THAT(end.status, StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(end.generated_tokens, 2);
  EXPECT_THAT(sinks[0]->AwaitEnd().status, IsOk());
}

TEST_F(SchedulerPreemptionTest, ADrainWaitsForIt) {
  const auto sinks = PreemptSecond(Job("AB", 6));
  scheduler_->Drain();
  backend_.Open();
  scheduler_->Stop(absl::InfiniteDuration());
  EXPECT_THAT(sinks[1]->AwaitEnd().status, IsOk());
  EXPECT_EQ(sinks[1]->text(), "CDEFGH");
}

TEST_F(SchedulerPreemptionTest, ItHoldsItsSnapshot) {
  GenerationJob job = Job("AB", 6);
  const std::weak_ptr<const Snapshot> held = job.snapshot;
  const auto sinks = PreemptSecond(std::move(job));
  EXPECT_FALSE(held.expired());
  backend_.Open();
  EXPECT_THAT(sinks[1]->AwaitEnd().status, IsOk());
  scheduler_->Stop(absl::InfiniteDuration());
  EXPECT_TRUE(held.expired());
}

TEST_F(SchedulerPreemptionTest, ItsTimesAndCachedTokensAreThoseOfItsFirstAdmission) {
  backend_.SetCachedTokens(1);
  observer_.StopAtFirst();
  Start(7);
  std::vector<GenerationJob> jobs;
  jobs.push_back(Job("ab", 6));
  jobs.push_back(Job("AB", 6));
  const auto sinks = SubmitInTurn(std::move(jobs));
  observer_.AwaitFirst();
  seconds_ = 100;
  backend_.SetCachedTokens(3);
  backend_.Open();
  const GenerationEnd end = sinks[1]->AwaitEnd();
  EXPECT_EQ(sinks[1]->text(), "CDEFGH");
  EXPECT_THAT(backend_.row_sizes()[6], ElementsAre(1));
  EXPECT_EQ(end.cached_tokens, 1);
  EXPECT_EQ(end.queue_time, absl::ZeroDuration());
  EXPECT_EQ(end.time_to_first_token, absl::ZeroDuration());
  EXPECT_EQ(end.total_time, absl::Seconds(100));
}

TEST_F(SchedulerPreemptionTest, ItDoesNotCountAsWaitingToBegin) {
  options_.max_waiting_sequences = 1;
  options_.max_waiting_bytes = 1000;
  GenerationJob job = Job("AB", 6);
  job.request_bytes = 900;
  const auto sinks = PreemptSecond(std::move(job));
  GenerationJob next = Job("xy", 1);
  next.request_bytes = 900;
  const auto third = Submit(std::move(next));
  const absl::Status status = scheduler_->Submit(Job("xy", 1));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted,
                               HasSubstr("1 requests wait, the limit is 1")));
  EXPECT_EQ(scheduler_->waiting(), 2);
  backend_.Open();
  EXPECT_THAT(third->AwaitEnd().status, IsOk());
}

// A sequence whose reader takes one message and pauses, older than one that grows over it.
class PausedPreemptionTest : public SchedulerPreemptionTest {
 protected:
  void PreemptPaused() {
    observer_.StopAtFirst();
    Start(7);
    GenerationJob job = Job("ab", 6);
    paused_ = std::make_shared<RecordingSink>(/*room=*/1);
    job.sink = paused_;
    std::vector<GenerationJob> jobs;
    jobs.push_back(std::move(job));
    jobs.push_back(Job("AB", 6));
    other_ = SubmitInTurn(std::move(jobs))[1];
    observer_.AwaitFirst();
    EXPECT_EQ(paused_->text(), "c");
    EXPECT_EQ(other_->text(), "CDEF");
  }

  std::shared_ptr<RecordingSink> paused_, other_;
};

TEST_F(PausedPreemptionTest, ItGivesUpItsRoomFirstAndLetsOthersPassUntilItsReaderReads) {
  PreemptPaused();
  // Has no room beside the paused one.
  const auto third = Submit(Job("vwxy", 1));
  backend_.Open();
  EXPECT_THAT(other_->AwaitEnd().status, IsOk());
  EXPECT_THAT(third->AwaitEnd().status, IsOk());
  EXPECT_EQ(other_->text(), "CDEFGH");
  EXPECT_FALSE(paused_->ended());
  paused_->GiveRoom(100);
  scheduler_->Wake();
  EXPECT_THAT(paused_->AwaitEnd().status, IsOk());
  EXPECT_EQ(paused_->text(), "cdefgh");
  EXPECT_EQ(observer_.count(), 1);
}

TEST_F(PausedPreemptionTest, ItEndsAfterTheLongestPauseWhileItWaits) {
  options_.max_reader_pause = absl::Seconds(30);
  PreemptPaused();
  seconds_ = 29;
  backend_.Open();
  other_->AwaitEnd();
  EXPECT_FALSE(paused_->ended());
  seconds_ = 30;
  scheduler_->Wake();
  const GenerationEnd end = paused_->AwaitEnd();
  EXPECT_EQ(ReasonOf(end.status), "READER_STALLED");
  EXPECT_EQ(end.generated_tokens, 1);
}

TEST_F(PausedPreemptionTest, AStopEndsItWhileItWaits) {
  PreemptPaused();
  backend_.Open();
  other_->AwaitEnd();
  scheduler_->Stop(absl::Milliseconds(1));
  EXPECT_THAT(paused_->AwaitEnd().status,
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("draining")));
}

TEST_F(PausedPreemptionTest, NoMoreHaveBegunThanMayRun) {
  options_.max_running_sequences = 2;
  PreemptPaused();
  const auto third = Submit(Job("xy", 1));
  const auto fourth = Submit(Job("xy", 1));
  backend_.Open();
  third->AwaitEnd();
  fourth->AwaitEnd();
  // There would be room for both at once.
  EXPECT_THAT(backend_.row_sizes(), ::testing::Not(::testing::Contains(ElementsAre(2, 2))));
}

TEST_F(SchedulerPreemptionTest, HoweverManyAskForTheWholeCacheAllAreAnswered) {
  Start(20);
  std::vector<GenerationJob> jobs;
  for (int i = 0; i < 12; ++i) {
    const std::string prompt(1 + i % 4, static_cast<char>('a' + i));
    jobs.push_back(Job(prompt, 21 - static_cast<int>(prompt.size())));
  }
  const auto sinks = SubmitInTurn(std::move(jobs));
  for (int i = 0; i < 12; ++i) {
    EXPECT_THAT(sinks[i]->AwaitEnd().status, IsOk());
    std::vector<TokenId> expected(20 - i % 4);
    std::iota(expected.begin(), expected.end(), 'a' + i + 1);
    EXPECT_THAT(sinks[i]->tokens(), ElementsAreArray(expected)) << "sequence " << i;
  }
  EXPECT_GT(observer_.count(), 0);
  scheduler_->Stop(absl::InfiniteDuration());
  EXPECT_EQ(backend_.cache_use().claimed, 0);
}

}  // namespace
}  // namespace amend
