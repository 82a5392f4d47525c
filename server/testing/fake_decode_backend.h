#ifndef AMEND_SERVER_TESTING_FAKE_DECODE_BACKEND_H_
#define AMEND_SERVER_TESTING_FAKE_DECODE_BACKEND_H_

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "server/decode_backend.h"

namespace amend {

// A model over bytes whose greedy continuation counts up: after token t comes t + 1 + revision
// (modulo 256). All other logits are close behind, so that sampling with a temperature has a
// choice. At each token of a traced sequence something fires. Thread-safe.
class FakeDecodeBackend : public DecodeBackend {
 public:
  // While closed, Step blocks: a test decides when steps run.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    open_ = false;
  }
  void Open() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    open_ = true;
  }
  // Blocks until a Step waits at the closed gate.
  void AwaitStepAtGate() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&at_gate_));
  }
  // From now on Step returns this.
  void SetStepStatus(absl::Status status) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    step_status_ = std::move(status);
  }
  // Whether Step and Score throw, as where memory ends.
  void SetOutOfMemory(bool out_of_memory) { out_of_memory_ = out_of_memory; }
  // Tokens of each row, per step so far.
  std::vector<std::vector<int>> row_sizes() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return row_sizes_;
  }
  // Number of items, per Score call so far.
  std::vector<int> score_sizes() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return score_sizes_;
  }

  // Room of the KV cache, in tokens; its blocks have one. Before the scheduler starts.
  void SetCacheCapacity(int64_t tokens) { cache_capacity_ = tokens; }
  // Tokens of each prompt that new sequences find in the cache.
  void SetCachedTokens(int tokens) { cached_tokens_ = tokens; }
  // Those of which they find the layers below the first edited one, these and maybe more.
  void SetLowerCachedTokens(int tokens) { lower_cached_tokens_ = tokens; }

  std::unique_ptr<DecodeSequence> NewSequence(std::shared_ptr<const Snapshot> snapshot,
                                              const SequenceOptions& options) override {
    const int64_t room = options.initial_tokens > 0 ? options.initial_tokens : options.max_tokens;
    const int64_t spare = growing_ + (room < options.max_tokens ? 1 : 0);
    if (claimed_ + room + spare > cache_capacity_) return nullptr;
    auto sequence = std::make_unique<Sequence>(this, std::move(snapshot), options);
    sequence->tokens = static_cast<size_t>(cached_tokens_);
    sequence->lower_tokens = static_cast<size_t>(lower_cached_tokens_);
    EXPECT_TRUE(sequence->Extend(room));
    return sequence;
  }
  int64_t cache_capacity() const override { return cache_capacity_; }
  CacheUse cache_use() const override { return {claimed_, cache_capacity_}; }

  absl::StatusOr<std::unique_ptr<DecodeLogits>> Step(absl::Span<const Row> rows) override {
    absl::MutexLock lock(&mutex_);
    at_gate_ = !open_;
    mutex_.Await(absl::Condition(&open_));
    at_gate_ = false;
    if (!step_status_.ok()) return step_status_;
    if (out_of_memory_) throw std::bad_alloc();
    auto logits = std::make_unique<Logits>();
    row_sizes_.emplace_back();
    for (const Row& row : rows) {
      row_sizes_.back().push_back(static_cast<int>(row.tokens.size()));
      auto* sequence = static_cast<Sequence*>(row.sequence);
      for (size_t i = 0; i < row.tokens.size(); ++i) {
        HookFiring firing;
        firing.packed_row = static_cast<int64_t>(sequence->tokens++);
        if (sequence->trace) sequence->firings.push_back(firing);
      }
      EXPECT_LE(static_cast<int64_t>(sequence->tokens), sequence->room);
      const int64_t next = row.tokens.back() + 1 + sequence->snapshot->revision.value();
      std::vector<float> values(256, 0.0f);
      values[next % 256] = 1.0f;
      logits->use.tokens += static_cast<int64_t>(row.tokens.size());
      if (sequence->snapshot->revision != kBaseRevision) ++logits->use.fired;
      logits->rows.push_back(std::move(values));
    }
    return std::unique_ptr<DecodeLogits>(std::move(logits));
  }

  absl::StatusOr<std::vector<ScoredContinuation>> Score(
      const Snapshot& snapshot, absl::Span<const ScoreItem> items) override {
    absl::MutexLock lock(&mutex_);
    if (out_of_memory_) throw std::bad_alloc();
    score_sizes_.push_back(static_cast<int>(items.size()));
    std::vector<ScoredContinuation> scores;
    for (const ScoreItem& item : items) {
      ScoredContinuation score;
      for (size_t i = 0; i < item.continuation.size(); ++i) {
        score.logprobs.push_back(-static_cast<float>(snapshot.revision.value()));
        score.argmax.push_back(item.continuation[i]);
      }
      scores.push_back(std::move(score));
    }
    return scores;
  }

 private:
  struct Sequence : DecodeSequence {
    Sequence(FakeDecodeBackend* b, std::shared_ptr<const Snapshot> s, const SequenceOptions& o)
        : backend(b), snapshot(std::move(s)), trace(o.trace_hooks), max_tokens(o.max_tokens) {
      ++backend->growing_;
    }
    ~Sequence() override {
      backend->claimed_ -= room;
      if (room < max_tokens) --backend->growing_;
    }
    int length() const override { return static_cast<int>(tokens); }
    int lower_length() const override { return static_cast<int>(std::max(tokens, lower_tokens)); }
    bool Extend(int64_t wanted) override {
      const int64_t more = std::max<int64_t>(wanted - room, 0);
      if (backend->claimed_ + more > backend->cache_capacity_) return false;
      if (more > 0 && wanted == max_tokens) --backend->growing_;
      backend->claimed_ += more;
      room += more;
      return true;
    }
    std::vector<HookFiring> TakeFirings() override { return std::exchange(firings, {}); }

    FakeDecodeBackend* const backend;
    std::shared_ptr<const Snapshot> snapshot;
    bool trace;
    const int64_t max_tokens;
    int64_t room = 0;
    size_t tokens = 0;
    size_t lower_tokens = 0;
    std::vector<HookFiring> firings;
  };
  struct Logits : DecodeLogits {
    absl::Span<const float> row(int i) const override { return rows[i]; }
    HookUse hook_use() const override { return use; }
    std::vector<std::vector<float>> rows;
    HookUse use;
  };

  std::atomic<int64_t> claimed_ = 0;
  // Living sequences that have less room than they may come to need.
  std::atomic<int64_t> growing_ = 0;
  std::atomic<int64_t> cache_capacity_ = int64_t{1} << 40;
  std::atomic<int> cached_tokens_ = 0;
  std::atomic<int> lower_cached_tokens_ = 0;
  mutable absl::Mutex mutex_;
  bool open_ ABSL_GUARDED_BY(mutex_) = true;
  bool at_gate_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> out_of_memory_ = false;
  absl::Status step_status_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::vector<int>> row_sizes_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> score_sizes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_TESTING_FAKE_DECODE_BACKEND_H_
