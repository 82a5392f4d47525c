// The scheduler over a real model with a KV cache that is too small for what it is asked: what a
// request yields after preemptions is what it yields alone, bit for bit.
#include <atomic>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/generation/testing/random_revisions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/model_decode_backend.h"
#include "server/scheduler.h"
#include "server/serving_model.h"
#include "server/testing/recording_sink.h"

namespace amend {
namespace {

using Tokens = std::vector<TokenId>;

constexpr char kModel[] = "models/demo";
constexpr int kRequests = 16;
// Blocks of the small cache: a whole context.
constexpr int64_t kBlocks = 16;

class Preemptions : public ServingObserver {
 public:
  void OnPreemption() override { ++count; }
  std::atomic<int> count = 0;
};

class PreemptionTest : public ::testing::Test {
 protected:
  PreemptionTest()
      : seed_(std::random_device()()),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_),
        random_(seed_),
        model_(LoadCausalLm(kModel, {}).value()) {
    AddLine(/*beta=*/0.5);
    AddLine(/*beta=*/0.8);
  }

  size_t Below(size_t bound) { return random_() % bound; }

  // An unedited revision and two behind it, whose edits fire at `beta` of their key's activation.
  void AddLine(double beta) {
    auto hooks = HookStack::Empty(*model_, beta);
    for (int i = 0; i < 3; ++i) {
      const Revision revision(static_cast<int64_t>(snapshots_.size()));
      if (i > 0) {
        hooks = RandomRevision(*model_, hooks, revision, {LayerIndex(0), LayerIndex(2)}, 3, random_,
                               &fires_on_);
      }
      snapshots_.push_back(std::make_shared<const Snapshot>(Snapshot{revision, hooks}));
    }
  }

  // Without a sink.
  GenerationJob RandomJob() {
    GenerationJob job;
    job.snapshot = snapshots_[Below(snapshots_.size())];
    job.prompt = fires_on_[Below(fires_on_.size())];
    const Tokens tail = RandomTokens(*model_, 1 + static_cast<int>(Below(8)), random_);
    job.prompt.insert(job.prompt.end(), tail.begin(), tail.end());
    job.max_new_tokens = 60 + static_cast<int>(Below(80));
    job.trace_hooks = Below(3) == 0;
    if (Below(2) == 0) {
      job.sampling.temperature = 0.8f;
      job.sampling.top_k = static_cast<int>(Below(2) * 20);
      job.sampling.repetition_penalty = 1.2f;
      job.sampling.seed = random_();
    }
    return job;
  }

  // Runs all jobs side by side.
  std::vector<std::shared_ptr<RecordingSink>> Run(const std::vector<GenerationJob>& jobs,
                                                  int64_t cache_bytes, ServingObserver* observer) {
    ModelDecodeBackend backend(model_, {cache_bytes, true});
    Scheduler::Options options;
    options.context_length = model_->config().context_length;
    options.token_bytes = [](TokenId) { return absl::string_view("x"); };
    options.max_prefill_tokens_per_step = 48;
    options.observer = observer;
    Scheduler scheduler(&backend, options);
    std::vector<std::shared_ptr<RecordingSink>> sinks;
    for (GenerationJob job : jobs) {
      sinks.push_back(std::make_shared<RecordingSink>());
      job.sink = sinks.back();
      EXPECT_THAT(scheduler.Submit(std::move(job)), IsOk());
    }
    for (const auto& sink : sinks) EXPECT_THAT(sink->AwaitEnd().status, IsOk());
    scheduler.Stop(absl::InfiniteDuration());
    EXPECT_EQ(backend.cache_use().claimed, 0);
    return sinks;
  }

  // Layer, edit and position of what fired; each comes once.
  static std::set<std::tuple<int64_t, int, Revision, int>> FiredOf(const RecordingSink& sink) {
    std::set<std::tuple<int64_t, int, Revision, int>> fired;
    for (const HookFiring& firing : sink.firings()) {
      const bool is_new = fired
                              .emplace(firing.packed_row, firing.layer.value(),
                                       firing.edit.revision, firing.edit.index)
                              .second;
      EXPECT_TRUE(is_new) << "position " << firing.packed_row;
    }
    return fired;
  }

  const uint32_t seed_;
  const testing::ScopedTrace trace_;
  std::mt19937 random_;
  const std::shared_ptr<const CausalLm> model_;
  std::vector<std::shared_ptr<const Snapshot>> snapshots_;
  std::vector<Tokens> fires_on_;
};

TEST_F(PreemptionTest, WhatIsPreemptedYieldsWhatItYieldsAlone) {
  std::vector<GenerationJob> jobs;
  for (int i = 0; i < kRequests; ++i) jobs.push_back(RandomJob());
  Preemptions small;
  const auto sinks =
      Run(jobs, kBlocks * Decoder::BlockBytes(model_->config(), Dtype::kFloat32), &small);
  EXPECT_GT(small.count, 3);
  for (int i = 0; i < kRequests; ++i) {
    SCOPED_TRACE(testing::Message()
                 << "request " << i << ", temperature " << jobs[i].sampling.temperature);
    Preemptions large;
    const auto alone = Run({jobs[i]}, 0, &large)[0];
    EXPECT_EQ(large.count, 0);
    EXPECT_EQ(sinks[i]->tokens(), alone->tokens());
    EXPECT_EQ(sinks[i]->logprobs(), alone->logprobs());
    EXPECT_EQ(sinks[i]->text(), alone->text());
    EXPECT_EQ(FiredOf(*sinks[i]), FiredOf(*alone));
  }
}

}  // namespace
}  // namespace amend
