// The scheduler over a real model, while its label moves: what a request yields behind a prefix
// that earlier ones left in the KV cache, also ones of other revisions, is what it yields without.
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/base/testing/status_matchers.h"
#include "core/generation/testing/counting_lm.h"
#include "core/generation/testing/random_revisions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/model_decode_backend.h"
#include "server/scheduler.h"
#include "server/serving_model.h"

namespace amend {
namespace {

using Tokens = std::vector<TokenId>;

constexpr char kModel[] = "models/demo";
constexpr int kNewTokens = 6;

class Sink : public TokenSink {
 public:
  bool Cancelled() const override { return false; }
  bool HasRoom() const override { return true; }
  void OnTokens(TokenEvent event) override {
    absl::MutexLock lock(&mutex_);
    tokens.insert(tokens.end(), event.token_ids.begin(), event.token_ids.end());
    logprobs.insert(logprobs.end(), event.logprobs.begin(), event.logprobs.end());
  }
  void OnEnd(const GenerationEnd& e) override {
    absl::MutexLock lock(&mutex_);
    end = e;
    ended_ = true;
  }
  void Await() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&ended_));
  }

  // Read after Await.
  Tokens tokens;
  std::vector<float> logprobs;
  GenerationEnd end;

 private:
  absl::Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

// By the edited layers of all revisions.
class PrefixSharingTest : public ::testing::TestWithParam<std::vector<LayerIndex>> {
 protected:
  PrefixSharingTest()
      : seed_(std::random_device()()),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_),
        random_(seed_),
        model_(LoadCausalLm(kModel, {}).value()),
        serving_(model_, /*beta=*/0.5) {}

  size_t Below(size_t bound) { return random_() % bound; }

  std::unique_ptr<Scheduler> NewScheduler(DecodeBackend* backend) {
    Scheduler::Options options;
    options.context_length = model_->config().context_length;
    options.token_bytes = [](TokenId) { return absl::string_view("x"); };
    return std::make_unique<Scheduler>(backend, options);
  }

  LayerIndex first_edited_layer() const { return GetParam().front(); }

  // Revisions 1 to 4: two on 0, one behind each. `fires_on_` gets prompts that their edits fire on.
  void AddRevisions() {
    std::vector<std::shared_ptr<const Snapshot>> made = {serving_.Resolve(kBaseRevision).value()};
    for (const size_t parent : {0, 0, 1, 2}) {
      const Revision revision(static_cast<int64_t>(made.size()));
      auto hooks = RandomRevision(*model_, made[parent]->hooks, revision, GetParam(), 3, random_,
                                  &fires_on_);
      made.push_back(std::make_shared<const Snapshot>(Snapshot{revision, std::move(hooks)}));
      serving_.AddRevision(made.back());
    }
  }

  std::shared_ptr<Sink> Submit(Scheduler& scheduler, std::shared_ptr<const Snapshot> snapshot,
                               const Tokens& prompt) {
    auto sink = std::make_shared<Sink>();
    GenerationJob job;
    job.snapshot = std::move(snapshot);
    job.prompt = prompt;
    job.max_new_tokens = kNewTokens;
    job.sink = sink;
    EXPECT_THAT(scheduler.Submit(std::move(job)), IsOk());
    return sink;
  }

  // The same tokens, each as probable to the last bit.
  static void ExpectSame(const Sink& warm, const Sink& cold) {
    ASSERT_THAT(warm.end.status, IsOk());
    ASSERT_EQ(warm.tokens, cold.tokens);
    ASSERT_EQ(warm.logprobs, cold.logprobs);
  }

  const uint32_t seed_;
  const testing::ScopedTrace trace_;
  std::mt19937 random_;
  const std::shared_ptr<const CausalLm> model_;
  ServingModel serving_;
  std::vector<Tokens> fires_on_;
};

INSTANTIATE_TEST_SUITE_P(EditedLayers, PrefixSharingTest,
                         ::testing::Values(std::vector{LayerIndex(0), LayerIndex(2)},
                                           std::vector{LayerIndex(1), LayerIndex(2)},
                                           std::vector{LayerIndex(3), LayerIndex(4)},
                                           std::vector{LayerIndex(5)}),
                         [](const auto& info) {
                           return "From" + std::to_string(info.param.front().value());
                         });

TEST_P(PrefixSharingTest, WarmIsColdAfterEveryPromotionAndRollback) {
  AddRevisions();
  const auto counting = std::make_shared<CountingLm>(model_);
  Decoder::Options small;
  small.first_edited_layer = first_edited_layer();
  small.kv_cache_bytes = 4 * Decoder::ContextBytes(*model_, first_edited_layer());
  ModelDecodeBackend warm_backend(counting, small);
  ModelDecodeBackend cold_backend(model_, {0, /*share_prefixes=*/false});
  const auto warm = NewScheduler(&warm_backend);
  const auto cold = NewScheduler(&cold_backend);
  std::vector<Tokens> prompts;
  for (int i = 0; i < 6; ++i) {
    // Pairs begin alike, with what an edit fires on in the shared part.
    Tokens tokens = i % 2 == 0 ? fires_on_[Below(fires_on_.size())] : prompts.back();
    const Tokens tail = RandomTokens(*model_, 30 + static_cast<int>(Below(30)), random_);
    tokens.insert(tokens.end(), tail.begin(), tail.end());
    prompts.push_back(std::move(tokens));
  }
  std::map<std::pair<Revision, size_t>, std::shared_ptr<Sink>> expected;
  int cached_tokens = 0;
  for (int move = 0; move < 25; ++move) {
    ASSERT_THAT(serving_.MoveLabel("live", Revision(static_cast<int64_t>(Below(5)))), IsOk());
    const auto live = serving_.Resolve("live").value();
    std::vector<std::pair<size_t, std::shared_ptr<Sink>>> running;
    for (size_t i = 1 + Below(4); i > 0; --i) {
      const size_t prompt = Below(prompts.size());
      running.emplace_back(prompt, Submit(*warm, live, prompts[prompt]));
    }
    for (const auto& [prompt, sink] : running) {
      sink->Await();
      std::shared_ptr<Sink>& reference = expected[{live->revision, prompt}];
      if (reference == nullptr) {
        reference = Submit(*cold, live, prompts[prompt]);
        reference->Await();
        ASSERT_EQ(reference->end.cached_tokens, 0);
      }
      cached_tokens += sink->end.cached_tokens;
      ExpectSame(*sink, *reference);
    }
  }
  EXPECT_GT(cached_tokens, 0);
  // The lower layers run less where there are any: what they gave is there after a move too.
  const int64_t edited = counting->ran(first_edited_layer());
  const int64_t below = counting->ran(LayerIndex(0));
  if (first_edited_layer() == LayerIndex(0)) {
    EXPECT_EQ(below, edited);
  } else {
    EXPECT_LT(below, edited * 9 / 10);
  }
}

}  // namespace
}  // namespace amend
